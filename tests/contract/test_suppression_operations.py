"""Put, Get, List and DeleteSuppressedDestination by boto3, against the HTTP door; and the account's list by our client.

The door offers what SES offers, so the worker's client of the account's list is tested against it as well.
"""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from config.settings import RouteSettings
from spool.suppression import Entry, NewEntry, Suppression
from tests.contract.message_flow_stand import MessageFlowStand, client_of, message_flow_stand
from tests.spooled import with_spool
from worker.suppression_sync import AccountAway, account_list


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MessageFlowStand]:
    with message_flow_stand(tmp_path_factory.mktemp("door"), has_s3=False) as stand:
        yield stand


@pytest.fixture
def client(stand: MessageFlowStand) -> Any:
    stand.redis.call("FLUSHALL", "SYNC")
    return client_of("sesv2", stand.url, stand.key.access_key_id, stand.key.secret)


def refused(call: Any, **parameters: Any) -> tuple[str, int, str]:
    with pytest.raises(ClientError) as raised:
        call(**parameters)
    answer = raised.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Message"]


def test_an_address_is_put_got_and_deleted(client):
    began_at = datetime.now(UTC)
    assert client.put_suppressed_destination(EmailAddress="Bob+x@example.net", Reason="COMPLAINT")
    found = client.get_suppressed_destination(EmailAddress="bob+x@EXAMPLE.net")["SuppressedDestination"]
    assert (found["EmailAddress"], found["Reason"]) == ("bob+x@example.net", "COMPLAINT")
    assert "Attributes" not in found
    assert began_at - timedelta(seconds=2) < found["LastUpdateTime"] < datetime.now(UTC) + timedelta(seconds=2)
    client.put_suppressed_destination(EmailAddress="bob+x@example.net", Reason="BOUNCE")
    found = client.get_suppressed_destination(EmailAddress="bob+x@example.net")["SuppressedDestination"]
    assert found["Reason"] == "BOUNCE"
    client.delete_suppressed_destination(EmailAddress="bob+x@example.net")
    words = "Email address bob+x@example.net does not exist on your suppression list."
    for call in (client.get_suppressed_destination, client.delete_suppressed_destination):
        assert refused(call, EmailAddress="bob+x@example.net") == ("NotFoundException", 404, words)


def test_what_feedback_entered_says_about_which_message(client, stand):
    with_spool(
        stand.settings,
        lambda spool: Suppression(spool.redis).enter("bob@example.net", "BOUNCE", message_id="m-1", feedback_id="f-1"),
    )
    found = client.get_suppressed_destination(EmailAddress="bob@example.net")["SuppressedDestination"]
    assert found["Attributes"] == {"MessageId": "m-1", "FeedbackId": "f-1"}


def test_the_list_comes_in_pages_and_by_reason_and_time(client, stand):
    at = datetime(2026, 1, 1, tzinfo=UTC)
    entries = [
        NewEntry(
            f"r{number}@example.net",
            "COMPLAINT" if number % 2 else "BOUNCE",
            "operator",
            int((at + timedelta(days=number)).timestamp() * 1000),
        )
        for number in range(7)
    ]
    with_spool(stand.settings, lambda spool: Suppression(spool.redis).put(entries))

    def numbers(**filters: Any) -> list[int]:
        answer = client.list_suppressed_destinations(**filters)
        return [int(one["EmailAddress"][1]) for one in answer["SuppressedDestinationSummaries"]]

    found, token = [], {}
    while True:
        page = client.list_suppressed_destinations(PageSize=3, **token)
        found.append([int(one["EmailAddress"][1]) for one in page["SuppressedDestinationSummaries"]])
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
    assert found == [[0, 1, 2], [3, 4, 5], [6]]
    assert numbers() == [0, 1, 2, 3, 4, 5, 6]
    assert numbers(Reasons=["COMPLAINT"]) == [1, 3, 5]
    assert numbers(Reasons=["COMPLAINT", "BOUNCE"]) == [0, 1, 2, 3, 4, 5, 6]
    assert numbers(StartDate=at + timedelta(days=2), EndDate=at + timedelta(days=4)) == [2, 3, 4]
    summary = client.list_suppressed_destinations(PageSize=1)["SuppressedDestinationSummaries"][0]
    assert summary == {"EmailAddress": "r0@example.net", "Reason": "BOUNCE", "LastUpdateTime": at}


@pytest.mark.parametrize(
    ("operation", "parameters", "code"),
    [
        ("put_suppressed_destination", {"EmailAddress": "bob@example.net", "Reason": "SPAM"}, "BadRequestException"),
        ("put_suppressed_destination", {"EmailAddress": "bob", "Reason": "BOUNCE"}, "BadRequestException"),
        (
            "put_suppressed_destination",
            {"EmailAddress": "Bob <b@example.net>", "Reason": "BOUNCE"},
            "BadRequestException",
        ),
        ("get_suppressed_destination", {"EmailAddress": "bob"}, "BadRequestException"),
        ("delete_suppressed_destination", {"EmailAddress": "@"}, "BadRequestException"),
        ("list_suppressed_destinations", {"PageSize": 0}, "BadRequestException"),
        ("list_suppressed_destinations", {"PageSize": 1001}, "BadRequestException"),
        ("list_suppressed_destinations", {"Reasons": ["SPAM"]}, "BadRequestException"),
        ("list_suppressed_destinations", {"NextToken": "nonsense"}, "InvalidNextTokenException"),
        ("list_suppressed_destinations", {"NextToken": "WzEsMiwzXQ=="}, "InvalidNextTokenException"),
    ],
)
def test_what_makes_no_sense_is_refused(client, operation, parameters, code):
    assert refused(getattr(client, operation), **parameters)[:2] == (code, 400)


def test_a_stranger_changes_nothing(client, stand):
    stranger = client_of("sesv2", stand.url, "AKIDSTRANGER", "secret")
    assert refused(stranger.put_suppressed_destination, EmailAddress="b@example.net", Reason="BOUNCE")[1] == 403
    assert client.list_suppressed_destinations()["SuppressedDestinationSummaries"] == []


def test_the_worker_reads_and_writes_the_list_of_an_account(client, stand):
    client.put_suppressed_destination(EmailAddress="theirs@example.net", Reason="COMPLAINT")
    route = RouteSettings(
        region="us-east-1",
        access_key_id=stand.key.access_key_id,
        secret_access_key=stand.key.secret,
        endpoint_url=stand.url,
    )

    async def use() -> list[NewEntry]:
        async with account_list(route) as account:
            await account.put(Entry("ours@example.net", "BOUNCE", "feedback", 0))
            await account.put(Entry("x" * 400, "BOUNCE", "feedback", 0))  # not taken, and left out
            await account.delete("nobody@example.net")
            found = [one async for page in account.pages() for one in page]
            await account.delete("theirs@example.net")
        return found

    found = asyncio.run(use())
    assert {(one.address, one.reason, one.source) for one in found} == {
        ("theirs@example.net", "COMPLAINT", "ses"),
        ("ours@example.net", "BOUNCE", "ses"),
    }
    left = client.list_suppressed_destinations()["SuppressedDestinationSummaries"]
    assert [one["EmailAddress"] for one in left] == ["ours@example.net"]


def test_an_account_that_refuses_is_away(stand):
    route = RouteSettings(
        region="us-east-1", access_key_id="AKIDSTRANGER", secret_access_key="secret", endpoint_url=stand.url
    )

    async def use() -> None:
        async with account_list(route) as account:
            await account.delete("nobody@example.net")

    with pytest.raises(AccountAway, match="UnrecognizedClient"):
        asyncio.run(use())
