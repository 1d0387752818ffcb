"""Floor 10: what works without a kernel."""
