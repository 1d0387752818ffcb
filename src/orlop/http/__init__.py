"""Floor 7: the network.  Decode, call the kernel, encode; no decisions."""
