"""Whether a resource policy lets an AWS service act for another resource: as much of IAM as queues and topics need.

Allow statements with a service principal or `*`, an action or `sqs:*`, and the conditions on `aws:SourceArn` and
`aws:SourceAccount` that AWS's own pages tell to write. A condition of another kind does not hold here.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

_OPERATORS = frozenset({"arnequals", "arnlike", "stringequals", "stringlike"})


def allows(policy: str, *, service: str, action: str, source_arn: str, account: str) -> bool:
    """Whether the policy (JSON; "" = none) lets a service, for instance `sns.amazonaws.com`, do this."""
    facts = {"aws:sourcearn": source_arn, "aws:sourceaccount": account, "aws:sourceowner": account}
    return any(
        statement.get("Effect") == "Allow"
        and _names_service(statement.get("Principal"), service)
        and any(_matches(pattern.lower(), action.lower()) for pattern in _texts(statement.get("Action")))
        and _holds(statement.get("Condition"), facts)
        for statement in _statements(policy)
    )


def _statements(policy: str) -> Iterator[Mapping[str, Any]]:
    try:
        parsed = orjson.loads(policy)
    except orjson.JSONDecodeError:
        return
    statements = parsed.get("Statement") if isinstance(parsed, dict) else None
    for statement in statements if isinstance(statements, list) else [statements]:
        if isinstance(statement, dict):
            yield statement


def _names_service(principal: object, service: str) -> bool:
    if isinstance(principal, dict):
        return service in _texts(principal.get("Service")) or "*" in _texts(principal.get("AWS"))
    return principal == "*"


def _holds(condition: object, facts: Mapping[str, str]) -> bool:
    if condition is None:
        return True
    if not isinstance(condition, dict):
        return False
    for operator, wanted in condition.items():
        if operator.lower() not in _OPERATORS or not isinstance(wanted, dict):
            return False
        for key, patterns in wanted.items():
            fact = facts.get(key.lower())
            if fact is None or not any(_matches(pattern, fact) for pattern in _texts(patterns)):
                return False
    return True


def _texts(value: object) -> list[str]:
    several = value if isinstance(value, list) else [value]
    return [one for one in several if isinstance(one, str)]


def _matches(pattern: str, text: str) -> bool:
    parts = (re.escape(part) for part in pattern.split("*"))
    return re.fullmatch(".*".join(parts), text) is not None
