"""Floor 4: engines behind a server, a provider or a small runtime, and how a table becomes one."""
