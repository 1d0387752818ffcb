"""User space: the kernel from Python."""
