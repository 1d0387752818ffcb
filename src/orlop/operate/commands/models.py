"""`orlop pull`."""

from pathlib import Path

import click

from orlop.abi.errors import Denied, KernelError, NoKernel
from orlop.console.frame import Frame, homed
from orlop.console.progress import bars
from orlop.console.screen import show_json, size
from orlop.machine.settings import default_models_dir
from orlop.operate.pull import Pulled, catalog
from orlop.operate.pull import pull as bring
from orlop.sdk.place import read_home


@click.command()
@click.argument("models", nargs=-1)
@click.option("--name", default="", help="What a .gguf file is to be called.")
@click.option(
    "--models-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="The shelf.  Default: $XDG_DATA_HOME/orlop/models, else ~/.local/share/orlop/models.",
)
@homed
def pull(frame: Frame, models: tuple[str, ...], name: str, models_dir: Path | None) -> None:
    """Fetch embedded models: names, or paths of .gguf files.

    Without a name, list what there is.  What is here already is checked and not fetched again.
    """
    if not models:
        _list(frame)
        return
    _require_open(frame)
    with bars(of_bytes=True, quiet=frame.as_json) as report:
        found = bring(models, models_dir or default_models_dir(), report, name)
    _tell_kernel(frame)
    if frame.as_json:
        show_json(found)
        return
    for pulled in found:
        click.echo(_line(pulled))


def _require_open(frame: Frame) -> None:
    """Raises `Denied` where the kernel of this home is airgapped."""
    try:
        is_airgapped = read_home(frame.home).airgap
    except NoKernel:
        return
    if is_airgapped:
        raise Denied("this kernel is airgapped: bring the models' folder over by other means")


def _list(frame: Frame) -> None:
    pins = catalog()
    if frame.as_json:
        show_json(pins)
        return
    for name, pin in pins.items():
        click.echo(f"{name:10}  {pin.title}")


def _line(pulled: Pulled) -> str:
    model = pulled.model
    how = "fetched" if pulled.fetched else "is here"
    return f"{model.name} {how}: {size(model.size_bytes)}, {model.source}, in {pulled.folder}"


def _tell_kernel(frame: Frame) -> None:
    """A kernel that runs looks at the shelf again; without one there is nobody to tell."""
    try:
        frame.operator().pulled()
    except NoKernel:
        return
    except KernelError as error:
        click.echo(f"the running kernel did not take note: {error.message}", err=True)
