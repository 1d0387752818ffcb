"""Floor 3: what is kept: the journal, its keys and its projections."""
