"""What a setting's value may be: the kinds that several sections share, and what a section is.

A list and a table are read both ways: TOML has its own, an environment variable writes `a, b` and `a=b, c=d`.
Each kind refuses what could not be used later, in words that say what is allowed.
"""

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

# Names of lanes and routes are parts of Redis keys and of metrics.
NAME_PATTERN = r"[a-z0-9_-]{1,32}"
_LOCAL_PART = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+"
_DOMAIN = r"[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*"


class Section(BaseModel):
    """A section of the settings file: unknown keys are mistakes, values do not change after the start."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def _split_commas(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _split_pairs(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    pairs = [part.partition("=") for part in _split_commas(value)]
    if any(not (name.strip() and text.strip()) for name, _, text in pairs):
        raise ValueError("must be pairs, for instance a=b, c=d")
    table = {name.strip(): text.strip() for name, _, text in pairs}
    if len(table) < len(pairs):
        raise ValueError("must name nothing twice")
    return table


def _begins_with(*beginnings: str) -> AfterValidator:
    """Empty, or one of these beginnings with something behind it."""

    def check(text: str) -> str:
        if text and not any(text.startswith(one) and len(text) > len(one) for one in beginnings):
            raise ValueError(f"must begin with {', '.join(beginnings[:-1])} or {beginnings[-1]}")
        return text

    return AfterValidator(check)


def _is_like(pattern: str, wish: str) -> AfterValidator:
    """Empty, or a text of this form."""
    form = re.compile(pattern)

    def check(text: str) -> str:
        if text and not form.fullmatch(text):
            raise ValueError(f"must be {wish}")
        return text

    return AfterValidator(check)


def _not_empty(text: str) -> str:
    if not text:
        raise ValueError("must not be empty")
    return text


# It goes into a header as it is, so nothing but one address.
BareAddress = Annotated[
    str, _is_like(rf"{_LOCAL_PART}@{_DOMAIN}", "one address without a name, for instance bounces@example.com")
]
_SomeAddress = Annotated[BareAddress, AfterValidator(_not_empty)]
# A * in a local part is a letter for mail and a mistake here: user@domain, domain or *.domain.
_AddressPattern = Annotated[
    str,
    _is_like(rf"(?!.*\*.*@){_LOCAL_PART}@{_DOMAIN}|(?:\*\.)?{_DOMAIN}", "user@domain, domain or *.domain"),
    AfterValidator(_not_empty),
]
_DomainPattern = Annotated[str, _is_like(rf"(?:\*\.)?{_DOMAIN}", "domain or *.domain"), AfterValidator(_not_empty)]


def _options_are_known(url: str) -> str:
    if "?" in url:
        from config.redis_clients import redis_client  # noqa: PLC0415 - Redis is not loaded for nothing

        try:
            redis_client(url)
        except ValueError as error:
            raise ValueError(f"must have options that can be used ({str(error).rstrip('.')})") from None
    return url


RedisUrl = Annotated[str, _begins_with("redis://", "rediss://", "unix://"), AfterValidator(_options_are_known)]
HttpUrl = Annotated[str, _begins_with("http://", "https://")]
ContentPlace = Annotated[str, _begins_with("s3://", "/")]
PortOrNone = Annotated[int, Field(ge=0, le=65535)]
Port = Annotated[int, Field(ge=1, le=65535)]
Seconds = Annotated[float, Field(gt=0, le=30 * 86400)]
#: -1 or 0 = none; anything else a number of recipients.
RecipientsPerDay = Annotated[float, Field(ge=-1)]
ConfigurationSet = Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9_-]*$")]

Names = Annotated[Sequence[str], BeforeValidator(_split_commas)]
Networks = Annotated[
    Sequence[ipaddress.IPv4Network | ipaddress.IPv6Network],
    BeforeValidator(_split_commas),
    Field(max_length=1000),
]
AddressPatterns = Annotated[Sequence[_AddressPattern], BeforeValidator(_split_commas), Field(max_length=1000)]
DomainPatterns = Annotated[Sequence[_DomainPattern], BeforeValidator(_split_commas), Field(max_length=1000)]

ConfigurationSetNames = Annotated[
    Mapping[
        Annotated[ConfigurationSet, AfterValidator(_not_empty)], Annotated[ConfigurationSet, AfterValidator(_not_empty)]
    ],
    BeforeValidator(_split_pairs),
]
Texts = Annotated[Mapping[str, str], BeforeValidator(_split_pairs)]
Addresses = Annotated[
    Mapping[Annotated[_SomeAddress, AfterValidator(str.lower)], _SomeAddress], BeforeValidator(_split_pairs)
]
Percents = Annotated[
    Mapping[str, Annotated[int, Field(ge=1, le=100)]], BeforeValidator(_split_pairs), Field(min_length=1, max_length=10)
]
Weights = Annotated[Mapping[str, Annotated[float, Field(gt=0, le=1000)]], BeforeValidator(_split_pairs)]
