"""What each kind of destination has to be told, and what is wrong with what it was told. Pure.

One row of MEMBERS for each kind, one row in it for each member. What SES's own API has keeps SES's name, limits and,
where they are known, SES's words; the rest is ours and can be written in mailsluice.toml only. Nothing is looked up
here: whether a topic or a stream exists shows when it is used.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from config.queues import KEY_PREFIX
from sending_events.configuration_sets.records import Kind

MAX_DIMENSIONS: Final = 10
_MAX_DIMENSION_CHARACTERS: Final = 256
#: What of a value from outside is repeated in a sentence.
SHOWN_CHARACTERS: Final = 100

#: What a mistake is about: a parameter, a limit, or the member of the kind. The API has an error for each.
About = Literal["parameter", "limit", "cloudwatch", "firehose", "sns", "ours"]

_ABOUT: Final[Mapping[Kind, About]] = {
    "cloudwatch": "cloudwatch",
    "firehose": "firehose",
    "sns": "sns",
    "eventbridge": "ours",
    "webhook": "ours",
    "redis_stream": "ours",
    "file": "ours",
    "log": "ours",
}


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong, in one sentence."""

    about: About
    text: str


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a kind."""

    #: Says what is wrong with a value; nothing when it is right.
    check: Callable[[str, Any], Iterator[str]]
    is_required: bool = False
    #: Only the API insists on it; SES needs what we do not.
    is_optional_in_file: bool = False
    #: SES's API does not have it.
    is_ours: bool = False
    #: Longest list; 0 = no list, or no limit.
    max_items: int = 0


def target_mistakes(kind: Kind, member: str, target: Any, *, is_of_file: bool) -> Iterator[Mistake]:
    """Everything that is wrong with the member of the kind; `member` is its name, SNSDestination for instance."""
    about = _ABOUT[kind]
    if not isinstance(target, Mapping):
        yield Mistake(about, f"{member} must be a table")
        return
    members = {name: one for name, one in MEMBERS[kind].items() if is_of_file or not one.is_ours}
    for name in target.keys() - members.keys():
        yield Mistake(about, f"{member} has no member {_shown(name)}; allowed: {', '.join(members) or 'none'}")
    for name, one in members.items():
        if target.get(name) is not None:
            yield from _value_mistakes(one, name, target[name], about)
        elif one.is_required and not (is_of_file and one.is_optional_in_file):
            yield Mistake(about, _MISSING.get(name, f"{member} needs {name}"))
    least, alternatives = _ALTERNATIVES.get(kind, (0, ()))
    if not least <= sum(name in target for name in alternatives) <= 1:
        yield Mistake(about, f"{member} needs {_HOW_MANY[least]} one of {', '.join(alternatives)}")


def _value_mistakes(member: Member, name: str, value: Any, about: About) -> Iterator[Mistake]:
    if member.max_items and isinstance(value, list) and len(value) > member.max_items:
        yield Mistake("limit", f"{name}: at most {member.max_items} are allowed, not {len(value)}.")
        return
    yield from (Mistake(about, text) for text in member.check(name, value))


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…"


def _arn_of(service: str, resource: str, example: str) -> Callable[[str, Any], Iterator[str]]:
    form = re.compile(rf"arn:aws[a-z-]*:{service}:{resource}")

    def check(name: str, value: Any) -> Iterator[str]:
        if not isinstance(value, str) or not form.fullmatch(value):
            yield f"{name} <{_shown(value)}> is not valid: it must be like {example}."

    return check


def _text(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, str) or not value or not value.isprintable():
        yield f"{name} must be a text"


def _whole_number(least: int, most: int) -> Callable[[str, Any], Iterator[str]]:
    def check(name: str, value: Any) -> Iterator[str]:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            yield f"{name} must be a whole number from {least} to {most}"

    return check


def _seconds(name: str, value: Any) -> Iterator[str]:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 <= value <= 25:
        yield f"{name} must be a number from 1 to 25"


def _one_of(*allowed: str) -> Callable[[str, Any], Iterator[str]]:
    def check(name: str, value: Any) -> Iterator[str]:
        if value not in allowed:
            yield f"{name} must be {' or '.join(allowed)}"

    return check


def _web_url(name: str, value: Any) -> Iterator[str]:
    """The value is not repeated: it can carry a password."""
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
        is_right = parts.scheme in {"http", "https"} and bool(parts.hostname) and value.isprintable()
        is_right = is_right and " " not in value and (parts.port is None or parts.port > 0)
    except ValueError:
        is_right = False
    if not is_right:
        yield f"{name} must be a URL that begins with https:// or http://"


def _redis_url(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, str) or not value.startswith(("redis://", "rediss://", "unix://")):
        yield f"{name} must be a URL that begins with redis://, rediss:// or unix://"


def _redis_key(name: str, value: Any) -> Iterator[str]:
    yield from _text(name, value)
    if isinstance(value, str) and value.startswith(KEY_PREFIX):
        yield f"{name} must not begin with {KEY_PREFIX}, where the spool's own keys are"


def _namespace(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9.\-_/#: ]{1,255}", value) or not value.strip():
        yield f"{name} must be a namespace of CloudWatch: letters, digits and . - _ / # :, at most 255"
    elif value.upper().startswith("AWS/"):
        yield f"{name} must not begin with AWS/: CloudWatch takes nothing there from its customers"


def _region(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, str) or not re.fullmatch(r"[a-z0-9-]{1,64}", value):
        yield f"{name} must be a region, for instance eu-west-1"


def _source(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9._\-/]{1,256}", value):
        yield f"{name} must be a source of EventBridge: letters, digits and . - _ /, at most 256"
    elif value.lower().startswith("aws."):
        yield f"{name} must not begin with aws.: EventBridge takes nothing from there from its customers"


def _secret(name: str, value: Any) -> Iterator[str]:
    """Not repeated either."""
    if not isinstance(value, str) or not 16 <= len(value) <= 256:
        yield f"{name} must be a text of 16 to 256 characters"


def _variable(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", value):
        yield f"{name} must be the name of an environment variable"


_VALUE_SOURCES: Final = ("messageTag", "emailHeader", "linkTag")
_TAKEN_NAMES: Final = frozenset({"received", "to", "from", "dkim-signature", "cc", "message-id", "return-path"})
_DIMENSION_MEMBERS: Final = ("DimensionName", "DimensionValueSource", "DefaultDimensionValue")


def _dimensions(name: str, value: Any) -> Iterator[str]:
    if not isinstance(value, list):
        yield f"{name} must be a list"
        return
    if not value:
        yield "CloudWatch metrics dimension configuration list cannot be empty."
    names: set[str] = set()
    for dimension in value:
        if not isinstance(dimension, Mapping) or any(
            not isinstance(dimension.get(member), str) for member in _DIMENSION_MEMBERS
        ):
            yield f"A dimension needs {', '.join(_DIMENSION_MEMBERS)}."
            continue
        if unknown := sorted(map(str, dimension.keys() - set(_DIMENSION_MEMBERS))):
            yield f"A dimension has no member {_shown(unknown[0])}; allowed: {', '.join(_DIMENSION_MEMBERS)}."
        yield from _dimension(dimension)
        if dimension["DimensionName"] in names:
            yield f"Dimension name <{_shown(dimension['DimensionName'])}> is there twice."
        names.add(dimension["DimensionName"])


def _dimension(dimension: Mapping[str, str]) -> Iterator[str]:
    name, source, default = (dimension[member] for member in _DIMENSION_MEMBERS)
    if len(name) > _MAX_DIMENSION_CHARACTERS:
        yield f"Dimension name cannot exceed {_MAX_DIMENSION_CHARACTERS} characters."
    elif not re.fullmatch(r"(?!:)[A-Za-z0-9_:-]+", name):
        shown = _shown(name)
        yield (
            f"Invalid dimension name <{shown}>: only alphanumeric ASCII characters, '_', '-' and ':' are allowed, "
            "and ':' not as the first."
        )
    elif name.lower() in _TAKEN_NAMES:
        yield f"Invalid dimension name <{name}>: it is the name of a header that SES does not take as a dimension."
    if source not in _VALUE_SOURCES:
        yield f"Invalid dimension value source <{_shown(source)}>: allowed are {', '.join(_VALUE_SOURCES)}."
    if len(default) > _MAX_DIMENSION_CHARACTERS:
        yield f"Default dimension value cannot exceed {_MAX_DIMENSION_CHARACTERS} characters."
    elif not re.fullmatch(r"[A-Za-z0-9_@.-]+", default):
        yield (
            f"Invalid default dimension value <{_shown(default)}>: only alphanumeric ASCII characters, "
            "'_', '-', '@' and '.' are allowed."
        )


_REGION: Final = r"[a-z0-9-]+"
_ACCOUNT: Final = r"\d{12}"
#: Kind → how many of these members there must be at least; there is one at most.
_ALTERNATIVES: Final[Mapping[Kind, tuple[int, tuple[str, ...]]]] = {
    "webhook": (1, ("Secret", "SecretFile", "SecretEnvironment")),
    "redis_stream": (0, ("Url", "UrlEnvironment")),
}
_HOW_MANY: Final = {0: "at most", 1: "exactly"}
_MISSING: Final = {"DimensionConfigurations": "CloudWatch metrics dimension configuration list cannot be empty."}

#: Kind → its members.
MEMBERS: Final[Mapping[Kind, Mapping[str, Member]]] = {
    "cloudwatch": {
        "DimensionConfigurations": Member(_dimensions, is_required=True, max_items=MAX_DIMENSIONS),
        "Namespace": Member(_namespace, is_ours=True),
        "Region": Member(_region, is_ours=True),
    },
    "firehose": {
        "DeliveryStreamARN": Member(
            _arn_of(
                "firehose",
                rf"{_REGION}:{_ACCOUNT}:deliverystream/[a-zA-Z0-9_.-]{{1,64}}",
                "arn:aws:firehose:us-east-1:123456789012:deliverystream/events",
            ),
            is_required=True,
        ),
        "IAMRoleARN": Member(
            _arn_of("iam", rf":{_ACCOUNT}:role/[\w+=,.@/-]{{1,576}}", "arn:aws:iam::123456789012:role/events"),
            is_required=True,
            is_optional_in_file=True,
        ),
    },
    "sns": {
        "TopicARN": Member(
            _arn_of(
                "sns", rf"{_REGION}:{_ACCOUNT}:[a-zA-Z0-9_-]{{1,256}}", "arn:aws:sns:us-east-1:123456789012:events"
            ),
            is_required=True,
        ),
    },
    "eventbridge": {
        "EventBusArn": Member(
            _arn_of(
                "events",
                rf"{_REGION}:{_ACCOUNT}:event-bus/[/a-zA-Z0-9_.-]{{1,256}}",
                "arn:aws:events:us-east-1:123456789012:event-bus/default",
            ),
            is_required=True,
        ),
        "Source": Member(_source, is_ours=True),
    },
    "webhook": {
        "Url": Member(_web_url, is_required=True),
        "Secret": Member(_secret),
        "SecretFile": Member(_text),
        "SecretEnvironment": Member(_variable),
        "BatchSize": Member(_whole_number(1, 500)),
        "BatchBytes": Member(_whole_number(10_000, 4_194_304)),
        "Format": Member(_one_of("json", "ndjson")),
        "TimeoutSeconds": Member(_seconds),
    },
    "redis_stream": {
        "Key": Member(_redis_key, is_required=True),
        "Url": Member(_redis_url),
        "UrlEnvironment": Member(_variable),
        "MaxLength": Member(_whole_number(1, 100_000_000)),
    },
    "file": {"Path": Member(_text, is_required=True)},
    "log": {},
}
