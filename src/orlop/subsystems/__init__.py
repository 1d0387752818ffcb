"""Floor 7: what the kernel does for each family of calls, below the door."""
