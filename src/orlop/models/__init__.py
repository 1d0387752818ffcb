"""Floor 4: which models exist, and which engine serves a call."""
