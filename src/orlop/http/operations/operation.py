"""One route of the HTTP API: who may ask, what it takes, what it answers."""

from dataclasses import KW_ONLY, dataclass
from enum import Enum
from typing import Final, TypeAlias

Schema: TypeAlias = dict[str, object]

Pattern: TypeAlias = tuple[str, ...]
"""A method, and the words below `/orlop/v1`; what is named in the path is `{ref}`."""

SSE: Final = "text/event-stream"
NDJSON: Final = "application/x-ndjson"
BYTES: Final = "application/octet-stream"
OURS: Final = "/orlop/v1/"
NOTHING: Final[Schema] = {"type": "object", "maxProperties": 0}


class By(Enum):
    """Who may ask."""

    ANYBODY = "anybody, without a token"
    SIGNER = "whoever signs what he sends"
    TOKEN = "whoever has a token"
    PROCESS = "a process, or a client with a key"
    PERSON = "a person with a token of his own, and operators, within their tenant"
    TENANT = "an operator, within his tenant"
    HOUSE = "the installation's operator, within the tenant that he names"
    INSTALLATION = "the installation's operator, about all that tenants share"


@dataclass(frozen=True, slots=True)
class Operation:
    """One route.  `body`, `reply`: an ABI type, a schema, or the name of a component."""

    by: By
    route: str
    """A method and a path: one that does not begin with a slash is below `/orlop/v1/`."""
    summary: str
    _: KW_ONLY
    body: object = None
    media: str = "application/json"
    """Of the body."""
    reply: object = None
    status: int = 200
    stream: str = ""
    """The media type of its answer in pieces, if it has one."""
    query: tuple[str, ...] = ()
    """Names; of numbers, unless one ends in `=`."""
    later: object = None
    """What it answers with 202."""

    @property
    def method(self) -> str:
        return self.route.partition(" ")[0]

    @property
    def path(self) -> str:
        path = self.route.partition(" ")[2]
        return path if path.startswith("/") else OURS + path

    @property
    def pattern(self) -> Pattern:
        """As the tables of `http.app` name it."""
        words = self.path.removeprefix(OURS).split("/")
        return (self.method, *("{ref}" if word.startswith("{") else word for word in words))
