"""What a policy lets an AWS service do, and a policy with one more statement."""

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from mailsluice.doctor_policies import Grant, denial, is_granted, with_grant

TOPIC = "arn:aws:sns:eu-west-1:111122223333:topic"
QUEUE = "arn:aws:sqs:eu-west-1:111122223333:queue"
GRANT = Grant("sns.amazonaws.com", "sqs:SendMessage", QUEUE, TOPIC, "111122223333", "Ours")


def statement(**changes: Any) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": QUEUE,
        "Condition": {"ArnEquals": {"aws:SourceArn": TOPIC}},
        **changes,
    }


def policy(**changes: Any) -> str:
    return json.dumps({"Statement": statement(**changes)})


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
        {"Resource": "arn:aws:sqs:*:111122223333:que?e"},
        {"Condition": {"StringNotEquals": {"aws:SourceAccount": "444455556666"}}},
        {"Condition": {"Bool": {"aws:SecureTransport": "true"}}},
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
        {"Condition": {"StringEquals": {"aws:SourceArn": "arn:*"}}},
        {"Condition": {"StringLike": {"aws:PrincipalOrgID": "*"}}},
        {"Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:*:topic"}}},
        {"Condition": "none"},
        {"Resource": f"{QUEUE}-other"},
        {"Resource": None},
        {"Action": None, "NotAction": "sqs:ReceiveMessage"},
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


@pytest.mark.parametrize(
    ("deny", "expected"),
    [
        ({}, "sure"),
        ({"Principal": "*", "Action": "*", "Resource": "*", "Condition": None}, "sure"),
        ({"Action": None, "NotAction": "sqs:ReceiveMessage"}, "sure"),
        ({"Condition": {"StringNotEquals": {"aws:SourceAccount": "444455556666"}}}, "sure"),
        ({"Principal": "*", "Condition": {"StringNotEquals": {"aws:PrincipalOrgID": "o-1"}}}, "perhaps"),
        ({"Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}, "perhaps"),
        ({"Principal": None, "NotPrincipal": {"AWS": "arn:aws:iam::111122223333:root"}}, "perhaps"),
        ({"Principal": "*", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}, "none"),
        ({"Principal": {"AWS": "arn:aws:iam::111122223333:user/eve"}}, "none"),
        ({"Action": "sqs:ReceiveMessage"}, "none"),
        ({"Action": None, "NotAction": "sqs:Send*"}, "none"),
        ({"Resource": f"{QUEUE}-other"}, "none"),
        ({"Condition": {"ArnNotLike": {"aws:SourceArn": TOPIC}}}, "none"),
        (
            {
                "Principal": "*",
                "Condition": {
                    "StringNotEqualsIfExists": {"aws:PrincipalOrgID": "o-1"},
                    "BoolIfExists": {"aws:PrincipalIsAWSService": "false"},
                },
            },
            "none",
        ),
    ],
)
def test_a_denial_counts_unless_it_is_surely_about_something_else(deny: dict[str, Any], expected: str) -> None:
    denying = {name: value for name, value in {**statement(), **deny, "Effect": "Deny"}.items() if value is not None}
    both = json.dumps({"Statement": [statement(), denying]})
    assert denial(both, GRANT) == expected
    assert is_granted(both, GRANT) is (expected == "none")


def test_statements_of_others_stay_and_ours_is_written_once() -> None:
    theirs = json.dumps({"Id": "kept", "Statement": [{"Sid": "Theirs", "Effect": "Allow", "Principal": "*"}]})
    once = with_grant(theirs, GRANT)
    assert with_grant(once, GRANT) == once
    told = json.loads(once)
    theirs_name, ours_name = [one["Sid"] for one in told["Statement"]]
    assert theirs_name == "Theirs"
    assert re.fullmatch("Ours[0-9a-f]{8}", ours_name)
    assert told["Id"] == "kept"
    assert told["Statement"][1]["Resource"] == QUEUE


def test_the_grant_of_another_installation_stays() -> None:
    other = replace(GRANT, source_arn=f"{TOPIC}-other")
    # Written by an older version, too: its name said nothing of the source.
    older = json.loads(with_grant("", other))
    older["Statement"][0]["Sid"] = "Ours"
    for policy_of_other in (with_grant("", other), json.dumps(older)):
        both = with_grant(policy_of_other, GRANT)
        assert is_granted(both, other)
        assert is_granted(both, GRANT)


def test_a_statement_of_ours_that_somebody_changed_stays_beside_ours() -> None:
    changed = json.loads(with_grant("", GRANT))
    changed["Statement"][0]["Condition"] = {"ArnEquals": {"aws:SourceArn": [f"{TOPIC}-other", f"{TOPIC}-third"]}}
    both = with_grant(json.dumps(changed), GRANT)
    assert is_granted(both, replace(GRANT, source_arn=f"{TOPIC}-other"))
    assert is_granted(both, GRANT)
    names = [one["Sid"] for one in json.loads(both)["Statement"]]
    assert len(set(names)) == 2
