"""Floor 3: devices that act: commands and servers of others, each behind a tool card."""
