"""Long-term memory: how it is revised, searched, and kept in RAM."""
