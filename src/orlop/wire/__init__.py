"""Floor 2: formats, without I/O; both halves of each, server's and client's."""
