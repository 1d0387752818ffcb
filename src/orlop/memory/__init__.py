"""Floor 4: what agents remember between runs: how it is revised, searched, and kept in RAM."""
