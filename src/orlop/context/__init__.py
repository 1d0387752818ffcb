"""Floor 4: what a model is shown."""
