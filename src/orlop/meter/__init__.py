"""Floor 4: what was used, and what may be."""
