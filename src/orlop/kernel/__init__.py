"""Floor 8: the door: system calls, admission, replay, recovery, take-over."""
