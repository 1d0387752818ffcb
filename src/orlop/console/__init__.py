"""Floor 8: what commands share: the connection, options, exit codes, and how things look."""
