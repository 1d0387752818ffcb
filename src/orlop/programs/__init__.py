"""User space: programs that come with the system."""
