"""Measuring and breaking the whole line as real processes: `python -m bench`, `bench.chaos`, `bench.outage`."""
