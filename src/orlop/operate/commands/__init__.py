"""The commands that need no kernel.  `pyproject.toml` names them as entry points of the shell."""
