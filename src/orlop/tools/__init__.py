"""Floor 4: which tools exist, what their arguments look like, and values that stay outside."""
