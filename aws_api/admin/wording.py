"""How the commands put values into words for a terminal: safe characters, durations, instants. All pure."""

import re
from datetime import UTC, datetime

_SPANS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
_DURATION = re.compile(r"(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m(?:in)?)?(?:([0-9]+)s)?")


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


def clock(at_ms: int, now_ms: int) -> str:
    """An instant to the minute, in UTC; with its day when that is farther away than 20 hours."""
    far = abs(at_ms - now_ms) > 20 * 3_600_000
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC" if far else "%H:%M UTC")


def seconds_of(text: str) -> float:
    """The inverse of span, without blanks too: `90`, `30s`, `30m`, `2h30m`, `1d`. Raises ValueError."""
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return float(text)
    if not (
        parts := re.fullmatch(r"(?:([0-9]+)d)?(?:([0-9]+)h)?(?:([0-9]+)m(?:in)?)?(?:([0-9]+)s)?", text.replace(" ", ""))
    ):
        raise ValueError("must be a duration, for instance 90s, 30m, 2h30m or 1d")
    seconds = sum(int(number or 0) * size for number, (size, _) in zip(parts.groups(), _SPANS, strict=True))
    if not any(parts.groups()):
        raise ValueError("must be a duration, for instance 90s, 30m, 2h30m or 1d")
    return float(seconds)
