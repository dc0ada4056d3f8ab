"""What is told outside: event records, the publisher and its destinations."""
