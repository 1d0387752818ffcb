"""Floor 6: processes and system calls."""
