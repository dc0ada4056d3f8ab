"""What a policy lets an AWS service do, and a policy with one more statement."""

import json
from typing import Any

import pytest

from mailsluice.doctor_policies import Grant, is_granted, with_grant

TOPIC = "arn:aws:sns:eu-west-1:111122223333:topic"
QUEUE = "arn:aws:sqs:eu-west-1:111122223333:queue"
GRANT = Grant("sns.amazonaws.com", "sqs:SendMessage", QUEUE, TOPIC, "111122223333", "Ours")


def policy(**changes: Any) -> str:
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": QUEUE,
        "Condition": {"ArnEquals": {"aws:SourceArn": TOPIC}},
        **changes,
    }
    return json.dumps({"Statement": statement})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"Principal": {"Service": ["sns.amazonaws.com", "s3.amazonaws.com"]}},
        {"Principal": {"AWS": "*"}},
        {"Principal": "*", "Action": ["SQS:*"]},
        {"Condition": None},
        {"Condition": {"ArnLike": {"AWS:SourceArn": "arn:aws:sns:*:111122223333:*"}}},
        {"Condition": {"StringEquals": {"AWS:SourceOwner": "111122223333"}}},
    ],
)
def test_what_gives_it_is_recognised(changes: dict[str, Any]) -> None:
    assert is_granted(policy(**changes), GRANT)


@pytest.mark.parametrize(
    "changes",
    [
        {"Effect": "Deny"},
        {"Action": "sqs:ReceiveMessage"},
        {"Principal": {"AWS": "arn:aws:iam::111122223333:root"}},
        {"Principal": {"Service": "ses.amazonaws.com"}},
        {"Condition": {"ArnEquals": {"aws:SourceArn": f"{TOPIC}-other"}}},
        {"Condition": {"StringEquals": {"aws:SourceAccount": "444455556666"}}},
        {"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}},
    ],
)
def test_what_does_not_give_it_is_not_believed(changes: dict[str, Any]) -> None:
    assert not is_granted(policy(**changes), GRANT)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"Statement": ["x"]}'])
def test_what_is_no_policy_gives_nothing(text: str) -> None:
    assert not is_granted(text, GRANT)
    assert is_granted(with_grant(text, GRANT), GRANT)


def test_a_denial_wins() -> None:
    both = json.dumps({"Statement": [json.loads(policy(Effect=effect))["Statement"] for effect in ("Allow", "Deny")]})
    assert not is_granted(both, GRANT)


def test_statements_of_others_stay_and_ours_is_written_once() -> None:
    theirs = json.dumps({"Id": "kept", "Statement": [{"Sid": "Theirs", "Effect": "Deny", "Principal": "*"}]})
    twice = json.loads(with_grant(with_grant(theirs, GRANT), GRANT))
    assert [one["Sid"] for one in twice["Statement"]] == ["Theirs", "Ours"]
    assert twice["Id"] == "kept"
    assert twice["Statement"][1]["Resource"] == QUEUE
