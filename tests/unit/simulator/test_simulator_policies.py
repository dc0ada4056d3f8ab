import json
from typing import Any

import pytest

from simulator.policies import allows

TOPIC = "arn:aws:sns:us-east-1:123456789012:topic"


def may(statement: dict[str, Any] | None, **changes: str) -> bool:
    policy = json.dumps({"Statement": [statement]}) if statement is not None else ""
    asked = {"service": "sns.amazonaws.com", "action": "sqs:SendMessage", "source_arn": TOPIC, "account": "1"}
    return allows(policy, **{**asked, **changes})


def statement(**changes: Any) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Condition": {"ArnEquals": {"aws:SourceArn": TOPIC}},
        **changes,
    }


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"Action": ["sqs:ReceiveMessage", "SQS:SendMessage"]},
        {"Action": "sqs:*"},
        {"Principal": "*"},
        {"Principal": {"AWS": "*"}},
        {"Condition": {"ArnLike": {"AWS:SourceArn": ["other", "arn:aws:sns:*:topic"]}}},
        {"Condition": {"StringEquals": {"aws:SourceAccount": "1"}}},
    ],
)
def test_a_statement_that_fits_allows(changes: dict[str, Any]) -> None:
    assert may(statement(**changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"Effect": "Deny"},
        {"Principal": {"Service": "events.amazonaws.com"}},
        {"Action": "sqs:ReceiveMessage"},
        {"Condition": {"ArnEquals": {"aws:SourceArn": "arn:aws:sns:us-east-1:123456789012:other"}}},
        {"Condition": {"StringEquals": {"aws:SourceAccount": "2"}}},
        {"Condition": {"Bool": {"aws:SecureTransport": "true"}}},
    ],
)
def test_a_statement_that_does_not_fit_does_not(changes: dict[str, Any]) -> None:
    assert not may(statement(**changes))


def test_no_policy_and_text_that_is_none_allow_nothing() -> None:
    assert not may(None)
    assert not allows("{", service="s", action="a", source_arn="x", account="1")
    assert not allows("[]", service="s", action="a", source_arn="x", account="1")
