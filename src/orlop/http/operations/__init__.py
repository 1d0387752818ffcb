"""Every route of the HTTP API as a row: who may ask, with what, and what comes back."""
