"""Floor 4: who is asking, what he may do, what rules say of it, and where his data came from."""
