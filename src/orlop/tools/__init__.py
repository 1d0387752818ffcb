"""Floor 4: which tools exist."""
