"""Floor 9: the network.  Decode, call the kernel, encode; no decisions."""
