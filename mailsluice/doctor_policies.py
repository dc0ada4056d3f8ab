"""Policies of topics and queues: whether one lets an AWS service in, and one more statement that does. Pure.

Read as far as is needed to say yes with certainty: a condition that is not known counts as not fulfilled where it
allows and as fulfilled where it denies, so the worst is an advice too many. What others wrote into a policy stays, and
so does what another installation of ours wrote: a statement of ours is named after what the service acts for.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal


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
    #: What the name of the statement that we write begins with.
    statement_id: str


def is_granted(policy: str, grant: Grant) -> bool:
    """Whether a policy (JSON; "" = none) gives it for sure."""
    return is_allowed(policy, grant) and denial(policy, grant) == "none"


def is_allowed(policy: str, grant: Grant) -> bool:
    """Whether a statement gives it, whatever others deny."""
    return any(one.get("Effect") == "Allow" and _allows(one, grant) for one in _statements(policy))


def denial(policy: str, grant: Grant) -> Literal["none", "perhaps", "sure"]:
    """Whether a statement takes it away, whatever the others give."""
    fulfilled = [
        _is_fulfilled(one.get("Condition"), _facts(grant)) and ("NotPrincipal" not in one or None)
        for one in _statements(policy)
        if one.get("Effect") == "Deny" and _denies(one, grant)
    ]
    if True in fulfilled:
        return "sure"
    return "perhaps" if None in fulfilled else "none"


def with_grant(policy: str, grant: Grant) -> str:
    """The policy with our statement in it; only an older one of ours for the same source is replaced."""
    digest = hashlib.sha256(grant.source_arn.encode()).hexdigest()[:8]
    name = f"{grant.statement_id}{digest}"
    statement = {
        "Sid": name,
        "Effect": "Allow",
        "Principal": {"Service": grant.service},
        "Action": grant.action,
        "Resource": grant.resource_arn,
        "Condition": {
            "StringEquals": {"aws:SourceAccount": grant.account},
            "ArnEquals": {"aws:SourceArn": grant.source_arn},
        },
    }
    kept = [one for one in _statements(policy) if not _is_ours(one, name, grant)]
    taken = {one.get("Sid") for one in kept}
    while statement["Sid"] in taken:  # somebody changed one of ours: it is his now
        statement["Sid"] = f"{statement['Sid']}x"
    return json.dumps({**_document(policy), "Version": "2012-10-17", "Statement": [*kept, statement]})


def _is_ours(statement: Mapping[str, Any], name: str, grant: Grant) -> bool:
    condition = statement.get("Condition")
    source = condition.get("ArnEquals") if isinstance(condition, dict) else None
    is_same: bool = source == {"aws:SourceArn": grant.source_arn} and statement.get("Resource") == grant.resource_arn
    return bool(statement.get("Sid") == name and statement.get("Effect") == "Allow" and is_same)


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


def _allows(statement: Mapping[str, Any], grant: Grant) -> bool:
    return (
        _names(statement.get("Principal"), grant.service)
        and _covers(statement, "Action", grant.action)
        and _covers(statement, "Resource", grant.resource_arn)
        and _is_fulfilled(statement.get("Condition"), _facts(grant)) is True
    )


def _denies(statement: Mapping[str, Any], grant: Grant) -> bool:
    """Whether it is about the grant, or may be; its condition apart."""
    return (
        ("Principal" not in statement or _names(statement["Principal"], grant.service))
        and ("Action" not in statement or _covers(statement, "Action", grant.action))
        and not _covers(statement, "NotAction", grant.action)
        and ("Resource" not in statement or _covers(statement, "Resource", grant.resource_arn))
        and not _covers(statement, "NotResource", grant.resource_arn)
    )


def _names(principal: Any, service: str) -> bool:
    if not isinstance(principal, dict):
        return bool(principal == "*")
    services, users = _several(principal.get("Service")), _several(principal.get("AWS"))
    # "AWS": "*" is anybody, services included; conditions narrow it.
    return service in services or "*" in services or "*" in users


def _covers(statement: Mapping[str, Any], member: str, name: str) -> bool:
    # SNS's own default policy writes "SNS:…", SQS's console "SQS:…"; in an ARN the case counts.
    flags = re.IGNORECASE if member.endswith("Action") else re.NOFLAG
    return any(_is_like(name, str(pattern), flags) for pattern in _several(statement.get(member)))


def _facts(grant: Grant) -> Mapping[str, str]:
    return {
        "aws:sourcearn": grant.source_arn,
        "aws:sourceaccount": grant.account,
        "aws:sourceowner": grant.account,
        "aws:securetransport": "true",
        "aws:principalisawsservice": "true",
    }


def _is_fulfilled(condition: Any, facts: Mapping[str, str]) -> bool | None:
    """None = nobody here knows."""
    if not condition:
        return True
    if not isinstance(condition, dict):
        return None
    answers = [
        _holds(operator.lower().removesuffix("ifexists"), facts.get(key.lower()), _several(patterns))
        for operator, wanted in condition.items()
        for key, patterns in (wanted.items() if isinstance(wanted, dict) else [("", None)])
    ]
    if False in answers:
        return False
    return None if None in answers else True


def _holds(operator: str, fact: str | None, patterns: list[Any]) -> bool | None:
    is_wanted = "not" not in operator
    compare = _OPERATORS.get(operator.replace("not", ""))
    if compare is None or fact is None:
        return None
    return any(compare(fact, str(pattern)) for pattern in patterns) is is_wanted


def _is_like(text: str, pattern: str, flags: re.RegexFlag = re.NOFLAG) -> bool:
    """`*` = any signs, `?` = one."""
    parts = (".*" if sign == "*" else "." if sign == "?" else re.escape(sign) for sign in pattern)
    return re.fullmatch("".join(parts), text, flags | re.DOTALL) is not None


def _is_arn_like(text: str, pattern: str) -> bool:
    """Each of the six parts by itself."""
    parts, patterns = text.split(":", 5), pattern.split(":", 5)
    return len(parts) == len(patterns) and all(map(_is_like, parts, patterns))


def _is_same_truth(text: str, pattern: str) -> bool:
    return text == pattern.lower()


#: Those that a negative twin ("StringNotEquals") turns round, in small letters.
_OPERATORS: Mapping[str, Callable[[str, str], bool]] = {
    "stringequals": str.__eq__,
    "stringlike": _is_like,
    "arnequals": _is_arn_like,
    "arnlike": _is_arn_like,
    "bool": _is_same_truth,
}


def _several(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
