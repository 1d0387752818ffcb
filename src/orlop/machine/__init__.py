"""Floor 2: what the kernel runs on.  The only floor that may ask for time or chance."""
