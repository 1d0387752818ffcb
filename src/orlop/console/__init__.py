"""What commands share: the connection, options, exit codes, and how things look."""
