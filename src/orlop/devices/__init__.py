"""Floor 3: what computes or acts.  One driver a file; foreign libraries stay in theirs."""
