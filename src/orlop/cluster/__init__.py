"""Floor 4: several kernels on one database: who lives, what they share, who takes over whom."""
