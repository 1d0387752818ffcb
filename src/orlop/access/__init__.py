"""Floor 4: who is asking."""
