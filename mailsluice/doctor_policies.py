"""Policies of topics and queues: whether one lets an AWS service in, and one more statement that does. Pure.

Read as far as is needed to say yes with certainty: a condition that is not known counts as not fulfilled, so the worst
is an advice too many. What others wrote into a policy stays.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

_EQUALS = frozenset({"stringequals", "stringlike", "arnequals", "arnlike"})


@dataclass(frozen=True, slots=True)
class Grant:
    """Who may do what with a resource, on behalf of what."""

    #: For instance sns.amazonaws.com.
    service: str
    #: For instance sqs:SendMessage.
    action: str
    resource_arn: str
    #: ARN of what the service acts for.
    source_arn: str
    account: str
    #: Name of the statement that we write.
    statement_id: str


def is_granted(policy: str, grant: Grant) -> bool:
    """Whether a policy (JSON; "" = none) gives it."""
    facts = {
        "aws:sourcearn": grant.source_arn,
        "aws:sourceaccount": grant.account,
        "aws:sourceowner": grant.account,
    }
    found = False
    for statement in _statements(policy):
        if not (_is_about(statement, grant) and _is_fulfilled(statement.get("Condition") or {}, facts)):
            continue
        if statement.get("Effect") == "Deny":
            return False
        found = True
    return found


def with_grant(policy: str, grant: Grant) -> str:
    """The policy with our statement in it; an older one of ours is replaced."""
    kept = [one for one in _statements(policy) if one.get("Sid") != grant.statement_id]
    statement = {
        "Sid": grant.statement_id,
        "Effect": "Allow",
        "Principal": {"Service": grant.service},
        "Action": grant.action,
        "Resource": grant.resource_arn,
        "Condition": {
            "StringEquals": {"aws:SourceAccount": grant.account},
            "ArnEquals": {"aws:SourceArn": grant.source_arn},
        },
    }
    return json.dumps({**_document(policy), "Version": "2012-10-17", "Statement": [*kept, statement]})


def _document(policy: str) -> dict[str, Any]:
    try:
        parsed = json.loads(policy)
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _statements(policy: str) -> Iterator[Mapping[str, Any]]:
    for statement in _several(_document(policy).get("Statement")):
        if isinstance(statement, dict):
            yield statement


def _is_about(statement: Mapping[str, Any], grant: Grant) -> bool:
    principal = statement.get("Principal")
    if isinstance(principal, dict):
        services, users = _several(principal.get("Service")), _several(principal.get("AWS"))
        # "AWS": "*" is anybody, services included; conditions narrow it.
        is_named = grant.service in services or "*" in users
    else:
        is_named = principal == "*"
    actions = [str(action).lower() for action in _several(statement.get("Action"))]
    # SNS's own default policy writes "SNS:…", SQS's console "SQS:…".
    return is_named and any(fnmatchcase(grant.action.lower(), action) for action in actions)


def _is_fulfilled(condition: Mapping[str, Any], facts: Mapping[str, str]) -> bool:
    for operator, wanted in condition.items():
        if operator.lower() not in _EQUALS or not isinstance(wanted, dict):
            return False
        for key, patterns in wanted.items():
            fact = facts.get(key.lower(), "")
            if not any(fnmatchcase(fact, str(pattern)) for pattern in _several(patterns)):
                return False
    return True


def _several(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
