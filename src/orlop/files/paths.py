"""Paths of the tree: what one looks like, and what lies below what."""

from collections.abc import Iterator
from typing import Final

from orlop.abi.errors import BadCall
from orlop.abi.limits import FILE_NAME_BYTES_MAX, FILE_PATH_BYTES_MAX

HOME: Final = "/home/"
ROOT: Final = "/"


def home_of(agent: str) -> str:
    """An agent's own folder.  Its name is one word of a path, whatever letters it has."""
    return HOME + (agent.replace("%", "%25").replace("/", "%2F") or "%").replace("..", "%2E.")


def absolute(path: str, home: str) -> str:
    """`path` in its one form, from `home` on if it is relative.  Raises `BadCall`."""
    if "\0" in path or not path.isprintable():
        raise BadCall(f"path {path[:100]!r}: printable characters only")
    words = [word for word in path.split("/") if word not in ("", ".")]
    if ".." in words:
        raise BadCall(f"path {path[:100]!r}: `..` leads nowhere; write the path in full")
    whole = ROOT + "/".join(words) if path.startswith(ROOT) else "/".join((home, *words))
    if len(whole.encode()) > FILE_PATH_BYTES_MAX:
        raise BadCall(f"path {path[:100]!r}…: at most {FILE_PATH_BYTES_MAX} bytes")
    if any(len(word.encode()) > FILE_NAME_BYTES_MAX for word in words):
        raise BadCall(f"path {path[:100]!r}…: a name has at most {FILE_NAME_BYTES_MAX} bytes")
    return whole


def file(path: str, home: str) -> str:
    """A path that can be a file's.  Raises `BadCall`."""
    whole = absolute(path, home)
    if whole in (ROOT, home) or path.endswith("/"):
        raise BadCall(f"path {path[:100]!r} is a folder: name a file in it")
    return whole


def upward(path: str) -> Iterator[str]:
    """The path itself, then each folder that it lies in, up to the root."""
    while path != ROOT:
        yield path
        path = path.rpartition("/")[0] or ROOT
    yield ROOT


def inside(folder: str) -> str:
    """What all paths below a folder begin with."""
    return ROOT if folder == ROOT else folder + "/"


def beyond(folder: str) -> str:
    """The first text after all paths below a folder."""
    return "0" if folder == ROOT else folder + "0"  # `0` comes next after `/`.


def last_below(folder: str) -> str:
    """After all paths below a folder, and before all others that come after them."""
    return inside(folder) + "\U0010ffff"


def is_below(path: str, folder: str) -> bool:
    """Whether `path` is the folder itself, or lies in it."""
    return path == folder or path.startswith(inside(folder))


def moved(path: str, old: str, new: str) -> str:
    """Where `path`, which is `old` or lies below it, lies once that is called `new`."""
    return new if path == old else inside(new) + path.removeprefix(inside(old))
