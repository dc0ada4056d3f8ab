"""Configuration sets: what applications name in a send, and where the events of such sends are told."""
