"""Senders whose mail bounces or is complained about, in words: for /healthz, `queue` and /admin/. Pure."""

from collections.abc import Iterator

from aws_api.admin.route_words import resume_command
from aws_api.admin.wording import many
from spool.figures import Figures


def reputation_notes(figures: Figures, *, is_public: bool = False) -> tuple[str, ...]:
    """Who is warned of or paused, a sentence each. `is_public`: in numbers, as nobody knows who reads it."""
    return tuple(_public(figures) if is_public else _named(figures))


def _public(figures: Figures) -> Iterator[str]:
    for level, words in (("paused", "paused for bounces or complaints"), ("warned", "close to that")):
        if number := sum(one.level == level for one in figures.standings):
            yield f"Reputation: {many(number, 'sender')} {words}: see mailsluice queue."


def _named(figures: Figures) -> Iterator[str]:
    for one in figures.standings:
        words = f": {one.why}" if one.why else ""
        if one.level == "paused":
            command = resume_command(f"user:{one.sender}")
            yield f"Sender {one.sender} is paused{words}; {command} ends it and counts anew."
        else:
            yield f"Sender {one.sender} is close to being paused{words}."
