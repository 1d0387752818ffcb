"""Floor 3: what computes: which devices there are, how they are, who has which part of them."""
