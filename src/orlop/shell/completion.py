"""`orlop completion`: a script for the shell."""

import click
from click.shell_completion import get_completion_class

VARIABLE = "_ORLOP_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print a script that completes commands and options.

    \b
    eval "$(orlop completion bash)"
    """
    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"no completion is known for {shell}")
    click.echo(made(context.find_root().command, {}, "orlop", VARIABLE).source())
