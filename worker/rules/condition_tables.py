"""Reads a condition of the rules file. What may be asked of an attribute is the table in conditions.py."""

import re
from collections.abc import Callable, Mapping
from typing import Any, get_args

from worker.rules.conditions import OPERATORS, network_of, pattern_of
from worker.rules.records import AttributeName, Condition, Operator
from worker.rules.toml_table import Table

MAX_VALUES = 250
_HEADER_NAME = re.compile(r"[!-9;-~]{1,100}")
_ATTRIBUTES: tuple[AttributeName, ...] = get_args(AttributeName)


def read_condition(table: Table) -> Condition | None:
    """The condition; None after a mistake."""
    attribute = table.one_of("attribute", _ATTRIBUTES)
    header = _header(table) if attribute == "HEADER" else ""
    operators = OPERATORS[attribute] if attribute else get_args(Operator)
    operator = table.one_of("operator", operators)
    if attribute == "HAS_ATTACHMENTS":
        table.end()
        return Condition(attribute, operator) if operator else None
    values = table.each("values", _reader(attribute, operator), most=MAX_VALUES)
    if not values:
        table.mistake("values", "has none that can be used")
    table.end()
    return Condition(attribute, operator, values, header) if attribute and operator else None


def _header(table: Table) -> str:
    name = table.required("header", longest=100)
    if name and not _HEADER_NAME.fullmatch(name):
        table.mistake("header", "is no name of a header; allowed: printable ASCII without blanks and colons")
    return name


def _reader(attribute: AttributeName | None, operator: Operator | None) -> Callable[[Any], str | int]:
    by_attribute: Mapping[str, Callable[[Any], str | int]] = {"MESSAGE_SIZE": _bytes, "SOURCE_IP": _network}
    return _pattern if operator == "MATCHES" else by_attribute.get(attribute or "", _text)


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 2048:
        raise ValueError("allowed: a text of at most 2,048 characters")
    return value


def _bytes(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("allowed: a number of bytes")
    return value


def _network(value: Any) -> str:
    try:
        return str(network_of(_text(value)))
    except ValueError as error:
        raise ValueError("allowed: an IP address or a range such as 192.0.2.0/24") from error


def _pattern(value: Any) -> str:
    pattern_of(_text(value))
    return str(value)
