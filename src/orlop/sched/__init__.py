"""Floor 5: who runs next, and where."""
