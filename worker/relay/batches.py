"""Splits recipients into batches. Pure."""

from collections.abc import Sequence

# SES takes at most 50 recipients a call (SendRawEmail reference, "Recipient count exceeds 50.").
MAX_RECIPIENTS_PER_CALL = 50


def split(indexes: Sequence[int], at_most: int = MAX_RECIPIENTS_PER_CALL) -> list[tuple[int, ...]]:
    """The recipients in envelope order, in batches of at most `at_most`, each recipient once."""
    return [tuple(indexes[start : start + at_most]) for start in range(0, len(indexes), at_most)]
