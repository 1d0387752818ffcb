"""Floor 9: user space: programs that come with the system."""
