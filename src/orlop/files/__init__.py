"""Floor 4: names, versions and content of files; the journal is where they are kept."""
