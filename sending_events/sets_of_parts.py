"""Which recipients of one happening belong to which configuration set. Pure.

Rules may give recipients of one message different sets. An event names one set, so what happens to several of them at
once is told once for each set.
"""

from collections.abc import Sequence

from spool.records import Message


def by_set(message: Message, recipients: Sequence[int]) -> dict[str, tuple[int, ...]]:
    """Configuration set ("" = none) → those of the recipients whose events are its own, in their order."""
    said = message.parameters.configuration_set
    parts = message.verdict.parts if message.verdict else ()
    chosen = {index: part.configuration_set for part in parts if part.configuration_set for index in part.recipients}
    if not chosen:
        return {said: tuple(recipients)} if recipients else {}
    found: dict[str, list[int]] = {}
    for index in recipients:
        found.setdefault(chosen.get(index, said), []).append(index)
    return {name: tuple(indexes) for name, indexes in found.items()}
