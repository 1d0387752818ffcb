"""The entry point of `orlop`: Ctrl-C is ours before anything else is loaded."""

import sys

from orlop.console.interrupt import INTERRUPTED, leave_at_once, tidy_up_first


def main() -> None:
    """The entry point of the distribution."""
    leave_at_once()
    from orlop.shell.commands import run

    try:
        tidy_up_first()
        status = run(sys.argv[1:])
        leave_at_once()
    except KeyboardInterrupt:  # In the moment before the command's own care, or after it.
        status = INTERRUPTED
    sys.exit(status)


if __name__ == "__main__":
    main()
