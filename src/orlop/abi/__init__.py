"""Floor 1: the words everyone shares.  Plain frozen data; imports nothing of ours."""
