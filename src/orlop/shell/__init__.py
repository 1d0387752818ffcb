"""Floor 9: the command line.  It is a program like any other: it has no back door."""
