"""Floor 6: what exists: a fold of the journal, and the kernel that all handlers are given."""
