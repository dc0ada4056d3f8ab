"""How the commands put values into words for a terminal: safe characters, durations, instants. All pure."""

from datetime import UTC, datetime

_SPANS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def escaped(text: str) -> str:
    """The text with everything that is not printable written out.

    An address comes from outside: it must not move the cursor, change colours or turn the reading direction.
    """
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def span(seconds: float) -> str:
    """A duration in its two largest units: `0.25 s`, `12 s`, `3 min 5 s`, `2 d 3 h`."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    left, parts = round(seconds), []
    for size, unit in _SPANS:
        number, left = divmod(left, size)
        if number:
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2])


def instant(at_ms: int) -> str:
    """UTC to the second."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def distance(at_ms: int, now_ms: int) -> str:
    """An instant as seen from now: `in 12 s`, `12 s ago`."""
    seconds = (at_ms - now_ms) / 1000
    return f"in {span(seconds)}" if seconds >= 0 else f"{span(-seconds)} ago"


def many(number: int, thing: str) -> str:
    """`1 message`, `1,200 messages`."""
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
