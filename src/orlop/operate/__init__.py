"""Floor 8: what works without a kernel."""
