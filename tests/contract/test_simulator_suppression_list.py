"""The simulated account's suppression list through the unmodified client."""

import datetime as dt

import pytest
from botocore.exceptions import ClientError
from simulated_ses import simulated_ses

RAW = b"From: Ann <ann@example.com>\r\nTo: bob@example.com\r\nSubject: hi\r\n\r\nbody\r\n"


@pytest.fixture
def ses():
    with simulated_ses() as running:
        yield running


def listed(api, **parameters):
    return [
        one["EmailAddress"] for one in api.list_suppressed_destinations(**parameters)["SuppressedDestinationSummaries"]
    ]


def test_an_address_is_put_shown_listed_and_deleted(ses):
    api = ses.client("sesv2")
    api.put_suppressed_destination(EmailAddress="Bob+x@Example.com", Reason="BOUNCE")
    shown = api.get_suppressed_destination(EmailAddress="bob+x@example.com")["SuppressedDestination"]
    assert (shown["EmailAddress"], shown["Reason"]) == ("bob+x@example.com", "BOUNCE")
    now = dt.datetime.now(dt.UTC)
    assert abs((now - shown["LastUpdateTime"]).total_seconds()) < 60
    api.put_suppressed_destination(EmailAddress="carol@example.com", Reason="COMPLAINT")
    assert listed(api, Reasons=["COMPLAINT"]) == ["carol@example.com"]
    assert listed(api, StartDate=now - dt.timedelta(hours=1)) == ["bob+x@example.com", "carol@example.com"]
    assert listed(api, EndDate=now - dt.timedelta(hours=1)) == []
    page = api.list_suppressed_destinations(PageSize=1)
    assert listed(api, PageSize=1, NextToken=page["NextToken"]) == ["carol@example.com"]
    api.delete_suppressed_destination(EmailAddress="bob+x@example.com")
    for call in (api.get_suppressed_destination, api.delete_suppressed_destination):
        with pytest.raises(api.exceptions.NotFoundException):
            call(EmailAddress="bob+x@example.com")
    with pytest.raises(ClientError, match="not valid"):
        api.put_suppressed_destination(EmailAddress="nobody", Reason="BOUNCE")


def test_mail_to_a_suppressed_address_is_taken_and_told_as_a_bounce(ses):
    ses.client("sesv2").put_suppressed_destination(EmailAddress="bob@example.com", Reason="BOUNCE")
    ses.client("ses").send_raw_email(RawMessage={"Data": RAW}, Destinations=["Bob@example.com", "carol@example.com"])
    events, _ = ses.events()
    assert [event["eventType"] for event in events] == ["Send", "Delivery", "Bounce"]
    bounce = events[2]["bounce"]
    assert (bounce["bounceType"], bounce["bounceSubType"]) == ("Permanent", "OnAccountSuppressionList")
    assert [one["emailAddress"] for one in bounce["bouncedRecipients"]] == ["Bob@example.com"]
    assert events[1]["delivery"]["recipients"] == ["carol@example.com"]
