"""Floor 4: which models exist, where they lie, and which engine serves a call."""
