"""The message, and everything the processes share: the truth about every message, recipient and attempt.

Start with records.py (what a message is), states.py (what may happen to it) and store.py (how it is kept).
"""
