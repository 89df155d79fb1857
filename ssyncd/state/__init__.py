"""What a folder remembers between runs, in SQLite."""
