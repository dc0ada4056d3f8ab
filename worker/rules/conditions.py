"""Whether a condition is true of a message, and what made it so. Pure, total, bounded.

Texts are compared without regard to case. MATCHES looks for its pattern anywhere in the text, by re2 alone: its time is
linear in the text whatever the pattern is. Of several headers of one name, or several attachments, one that fits is
enough; NOT_EQUALS is true when none is equal. Where a message says more about files than could be read, what looks for
a file or a name takes it as found.
"""

import ipaddress
import operator
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from worker.rules.facts import Facts
from worker.rules.records import AttributeName, Condition, Operator

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_MAX_SHOWN = 80
_UNREAD = " (more about files than could be read)"

_IN_TEXTS: Mapping[str, Callable[[str, str], bool]] = {
    "EQUALS": str.__eq__,
    "STARTS_WITH": str.startswith,
    "ENDS_WITH": str.endswith,
    "CONTAINS": str.__contains__,
}
_OF_NUMBERS: Mapping[str, Callable[[int, int], bool]] = {
    "EQUALS": operator.eq,
    "LESS_THAN": operator.lt,
    "LESS_THAN_OR_EQUAL": operator.le,
    "GREATER_THAN": operator.gt,
    "GREATER_THAN_OR_EQUAL": operator.ge,
}


def why_true(condition: Condition, facts: Facts) -> str:
    """What fits, in words for people; "" = the condition is not true."""
    return _CHECKS[condition.attribute](condition, facts)


def pattern_of(text: str) -> Any:
    """The compiled pattern of MATCHES. Raises ValueError when re2 is not installed or refuses it."""
    try:
        import re2  # type: ignore[import-untyped]  # noqa: PLC0415 - an optional dependency, asked for by the rules that need it
    except ImportError as error:
        raise ValueError("MATCHES needs google-re2, which is not installed (pip install google-re2)") from error
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(text, options)
    except (re2.error, UnicodeError) as error:
        told = error.args[0] if error.args else ""
        told = told.decode("utf-8", "replace") if isinstance(told, bytes) else str(told)
        raise ValueError(f"no pattern of re2: {told}") from error


_compiled = lru_cache(maxsize=4096)(pattern_of)


@lru_cache(maxsize=65_536)  # more than a rules file of 1 MB has room for
def network_of(text: str) -> Network:
    """The network of a CIDR range or one address. Raises ValueError."""
    return ipaddress.ip_network(text.strip(), strict=False)


# -- one check for each attribute


def _check_texts(condition: Condition, facts: Facts) -> str:
    # Nearly all the time that rules take is spent here, so it is loops and no generators.
    fits = _IN_TEXTS.get(condition.operator)
    if fits is None:
        return _check_patterns(condition, facts) if condition.operator == "MATCHES" else _check_none(condition, facts)
    texts = _FOLDED[condition.attribute](facts, condition.header)
    for wanted in condition.folded:
        for text in texts:
            if fits(text, wanted):
                return _worded(condition, _shown(condition.values[condition.folded.index(wanted)]))
    return ""


def _check_none(condition: Condition, facts: Facts) -> str:
    """NOT_EQUALS: none of the values is one of the texts."""
    has_none = set(condition.folded).isdisjoint(_FOLDED[condition.attribute](facts, condition.header))
    return _worded(condition, _shown(condition.values[0])) if has_none else ""


def _check_patterns(condition: Condition, facts: Facts) -> str:
    texts = _AS_WRITTEN[condition.attribute](facts, condition.header)
    for value in condition.values:
        if any(_compiled(str(value)).search(text) for text in texts):
            return _worded(condition, _shown(value))
    return ""


def _check_size(condition: Condition, facts: Facts) -> str:
    fits = _OF_NUMBERS[condition.operator]
    found = (value for value in condition.values if fits(facts.size_bytes, int(value)))
    return next((_worded(condition, str(value)) for value in found), "")


def _check_source_ip(condition: Condition, facts: Facts) -> str:
    address = facts.source_ip
    fitting = (value for value in condition.values if address is not None and address in network_of(str(value)))
    found = next(fitting, None)
    if condition.operator == "CIDR_MATCHES":
        return "" if found is None else _worded(condition, str(found))
    return _worded(condition, str(condition.values[0])) if found is None else ""


def _check_attachments(condition: Condition, facts: Facts) -> str:
    if facts.has_attachments is not (condition.operator == "IS_TRUE"):
        return ""
    return f"{_worded(condition)}{_UNREAD}" if facts.has_unread_attachments else _worded(condition)


def _check_attachment_names(condition: Condition, facts: Facts) -> str:
    if not facts.has_unread_attachments:
        return _check_texts(condition, facts)
    if condition.operator == "NOT_EQUALS":
        return ""
    return _check_texts(condition, facts) or f"{_worded(condition, _shown(condition.values[0]))}{_UNREAD}"


# The texts that are compared, by message and name of a header.
_FOLDED: Mapping[AttributeName, Callable[[Facts, str], tuple[str, ...]]] = {
    "SUBJECT": lambda facts, _: facts.folded_subject,
    "HEADER": Facts.folded_headers,
    "SMTP_USER": lambda facts, _: facts.folded_user,
    "ATTACHMENT_NAME": lambda facts, _: facts.folded_attachment_names,
}
_AS_WRITTEN: Mapping[AttributeName, Callable[[Facts, str], tuple[str, ...]]] = {
    "SUBJECT": lambda facts, _: facts.headers("Subject")[:1],
    "HEADER": Facts.headers,
    "SMTP_USER": lambda facts, _: (facts.user,),
    "ATTACHMENT_NAME": lambda facts, _: facts.attachment_names,
}
_CHECKS: Mapping[AttributeName, Callable[[Condition, Facts], str]] = {
    **dict.fromkeys(("SUBJECT", "HEADER", "SMTP_USER"), _check_texts),
    "ATTACHMENT_NAME": _check_attachment_names,
    "MESSAGE_SIZE": _check_size,
    "SOURCE_IP": _check_source_ip,
    "HAS_ATTACHMENTS": _check_attachments,
}
#: What may be asked of each attribute.
OPERATORS: Mapping[AttributeName, tuple[Operator, ...]] = {
    **dict.fromkeys(
        ("SUBJECT", "HEADER", "SMTP_USER", "ATTACHMENT_NAME"),
        ("EQUALS", "NOT_EQUALS", "STARTS_WITH", "ENDS_WITH", "CONTAINS", "MATCHES"),
    ),
    "MESSAGE_SIZE": ("LESS_THAN", "LESS_THAN_OR_EQUAL", "GREATER_THAN", "GREATER_THAN_OR_EQUAL", "EQUALS"),
    "SOURCE_IP": ("CIDR_MATCHES", "NOT_CIDR_MATCHES"),
    "HAS_ATTACHMENTS": ("IS_TRUE", "IS_FALSE"),
}


# -- in words


def _worded(condition: Condition, value: str = "") -> str:
    subject = f"{condition.attribute} {condition.header}" if condition.header else condition.attribute
    rest = len(condition.values) - 1 if condition.operator in {"NOT_EQUALS", "NOT_CIDR_MATCHES"} else 0
    return f"{subject} {condition.operator} {value}{f' and {rest} more' if rest else ''}".strip()


def _shown(value: str | int) -> str:
    text = "".join(one if one.isprintable() else "�" for one in str(value)[: _MAX_SHOWN + 1])
    return f'"{text}"' if len(text) <= _MAX_SHOWN else f'"{text[:_MAX_SHOWN]}…"'
