"""GET /events: what SES tells of the calls that it took, also of those whose caller never heard an answer."""

import threading
import time

import pytest
from botocore.exceptions import ClientError, HTTPClientError
from simulated_ses import simulated_ses

RAW = b"X-Sluice-Batch: m.1\r\nFrom: Ann <ann@example.com>\r\nTo: bob@example.com\r\nSubject: hi\r\n\r\nbody\r\n"


@pytest.fixture
def ses():
    with simulated_ses() as running:
        yield running


def send(ses, **parameters):
    client = ses.client("ses", read_timeout_seconds=60)
    return client.send_raw_email(RawMessage={"Data": RAW}, **parameters)["MessageId"]


def test_a_send_and_a_delivery_tell_of_an_accepted_call(ses):
    to = ["bob@example.com", "carol@example.com"]
    ses_message_id = send(
        ses,
        Source="bounces@example.com",
        Destinations=to,
        Tags=[{"Name": "sluice-batch", "Value": "m.1"}],
        ConfigurationSetName="feedback",
    )
    (sent, delivered), following = ses.events()
    assert following == 2
    assert [sent["eventType"], delivered["eventType"]] == ["Send", "Delivery"]
    assert delivered["delivery"]["recipients"] == to
    mail = sent["mail"]
    assert mail["messageId"] == mail["commonHeaders"]["messageId"] == ses_message_id
    assert (mail["source"], mail["destination"]) == ("bounces@example.com", to)
    assert mail["headers"][0] == {"name": "X-Sluice-Batch", "value": "m.1"}
    assert mail["tags"] == {
        "ses:operation": ["SendRawEmail"],
        "ses:configuration-set": ["feedback"],
        "ses:source-ip": ["127.0.0.1"],
        "ses:from-domain": ["example.com"],
        "ses:caller-identity": ["simulated"],
        "sluice-batch": ["m.1"],
    }
    assert ses.events(following) == ([], 2)


def test_the_second_api_tells_its_own_operation(ses):
    client = ses.client("sesv2", region="eu-west-1")
    client.send_email(Content={"Raw": {"Data": RAW}}, EmailTags=[{"Name": "sluice-batch", "Value": "m.2"}])
    [sent, _], _ = ses.events()
    assert sent["mail"]["tags"]["ses:operation"] == ["SendEmail"]
    assert sent["mail"]["tags"]["sluice-batch"] == ["m.2"]
    assert ":eu-west-1:" in sent["mail"]["sourceArn"]


def test_the_mailbox_simulator_decides_what_follows(ses):
    def at(name):
        return f"{name}@simulator.amazonses.com"

    names = ("success", "bounce+1", "bounce+2", "complaint+x", "ooto", "suppressionlist")
    send(ses, Destinations=[at(name) for name in names])
    [sent, delivered, bounced, suppressed, complained], _ = ses.events()
    assert sent["mail"]["destination"] == [at(name) for name in names]
    assert delivered["delivery"]["recipients"] == [at("success"), at("complaint+x"), at("ooto")]
    assert [one["emailAddress"] for one in bounced["bounce"]["bouncedRecipients"]] == [at("bounce+1"), at("bounce+2")]
    assert (bounced["bounce"]["bounceType"], bounced["bounce"]["bounceSubType"]) == ("Permanent", "General")
    assert [one["emailAddress"] for one in suppressed["bounce"]["bouncedRecipients"]] == [at("suppressionlist")]
    assert (suppressed["bounce"]["bounceType"], suppressed["bounce"]["bounceSubType"]) == ("Permanent", "Suppressed")
    assert complained["complaint"]["complainedRecipients"] == [{"emailAddress": at("complaint+x")}]


@pytest.mark.parametrize("kind", ["hang_after", "close_after", "html_200", "cut_answer"])
def test_a_call_without_an_answer_has_its_events(ses, kind):
    ses.json("PUT", "/faults", {"kind": kind, "hang_seconds": 0.1})
    with pytest.raises((HTTPClientError, KeyError)):
        send(ses)
    [sent, _], _ = ses.events()
    assert sent["mail"]["messageId"] == ses.ledger()[0]["ses_message_id"]


@pytest.mark.parametrize("kind", ["hang_before", "close_before", "throttle"])
def test_a_call_that_was_not_taken_has_none(ses, kind):
    ses.json("PUT", "/faults", {"kind": kind, "hang_seconds": 0.1})
    with pytest.raises((HTTPClientError, ClientError)):
        send(ses)
    assert ses.events() == ([], 0)


def test_a_reader_may_wait_for_the_next_event(ses):
    answers = []
    reader = threading.Thread(target=lambda: answers.append(ses.events(wait=30)))
    started_at = time.monotonic()
    reader.start()
    ses_message_id = send(ses)
    reader.join(60)
    [(events, following)] = answers
    assert time.monotonic() - started_at < 30
    assert [event["mail"]["messageId"] for event in events] == [ses_message_id] * 2
    assert following == 2


def test_a_reader_waits_no_longer_than_it_said(ses):
    started_at = time.monotonic()
    assert ses.events(wait=0.3) == ([], 0)
    assert 0.3 <= time.monotonic() - started_at < 20


def test_events_come_late_when_they_are_told_to(ses):
    ses.json("PUT", "/settings", {"events_delay_seconds": 3600})
    send(ses)
    assert ses.events(wait=0.1) == ([], 0)
    ses.json("PUT", "/settings", {"events_delay_seconds": 0})
    assert ses.events()[1] == 2


def test_events_may_be_missing_for_good(ses):
    ses.json("PUT", "/settings", {"events": False})
    send(ses)
    ses.json("PUT", "/settings", {"events": True})
    assert ses.events() == ([], 0)
    ses_message_id = send(ses)
    assert {event["mail"]["messageId"] for event in ses.events()[0]} == {ses_message_id}


def test_events_may_be_out_of_reach_for_a_while(ses):
    ses.json("PUT", "/settings", {"events_unavailable": True})
    send(ses)
    assert ses.request("GET", "/events")[0] == 503
    ses.json("PUT", "/settings", {"events_unavailable": False})
    assert ses.events()[1] == 2


def test_a_reader_of_a_simulator_before_this_one_begins_again(ses):
    assert ses.events(5000, wait=20) == ([], 0)
    send(ses)
    assert ses.events(5000)[1] == 2


def test_every_simulator_names_its_own_feed(ses):
    names = [ses.request("GET", "/events")[1]["X-Feed"] for _ in range(2)]
    with simulated_ses() as other:
        names.append(other.request("GET", "/events")[1]["X-Feed"])
    assert names[0] == names[1] != names[2]


def test_an_answer_that_is_not_the_end_says_so(ses):
    body = b"Action=SendRawEmail&Source=a@x&Destinations.member.1=b@x&RawMessage.Data="
    for _ in range(501):
        assert ses.request("POST", "/", body)[0] == 200
    _, headers, lines = ses.request("GET", "/events")
    assert (lines.count(b"\n"), headers["X-Next"], headers["X-More"]) == (1000, "1000", "1")
    _, headers, lines = ses.request("GET", "/events?since=1000")
    assert (lines.count(b"\n"), headers["X-Next"], "X-More" in headers) == (2, "1002", False)


def test_old_events_go_and_the_reader_is_told():
    with simulated_ses(kept_event_bytes=10_000) as ses:
        for _ in range(30):
            send(ses)
        status, headers, body = ses.request("GET", "/events")
        assert status == 200
        dropped, following = int(headers["X-Dropped-Lines"]), int(headers["X-Next"])
        assert following == 60
        assert 0 < dropped == following - body.count(b"\n")


@pytest.mark.parametrize("query", ["since=-1", "since=x", "wait=-1", "wait=nan", "wait=1e9", "since=" + "9" * 16])
def test_a_wrong_question_is_refused(ses, query):
    assert ses.request("GET", f"/events?{query}")[0] == 400
