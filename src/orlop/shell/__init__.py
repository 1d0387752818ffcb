"""User space: the command line, a program like any other."""
