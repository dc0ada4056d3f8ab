"""What the operator's rules say about a message: read, matched, decided. Pure but for reading the file."""
