"""What `mailsluice doctor` finds and makes at AWS: against moto, and against the simulator, which heeds policies."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
from moto.server import ThreadedMotoServer
from simulated_ses import SimulatedSes, simulated_ses

from config.aws_clients import aws_session, set_up_client
from config.settings import Settings
from mailsluice.doctor import DoctorOptions, Examination, ending_of
from mailsluice.doctor_report import Finding
from mailsluice.doctor_wiring import EVENT_TYPES, NAME, SetUpClients, Wiring, check_wiring

RAW = b"From: Ann <ann@example.com>\r\nTo: bob@example.com\r\nSubject: hi\r\n\r\nbody\r\n"


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.fixture
def simulator() -> Iterator[SimulatedSes]:
    with simulated_ses() as running:
        yield running


@pytest.fixture(params=["moto", "simulator"])
def endpoint(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    found = request.getfixturevalue(request.param)
    url: str = found if isinstance(found, str) else found.url
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    # What is made stays in moto for the life of the process, by region.
    monkeypatch.setenv("AWS_REGION", "ap-southeast-2")
    return url


@asynccontextmanager
async def opened() -> AsyncIterator[SetUpClients]:
    async with AsyncExitStack() as stack:
        session = aws_session()
        ses, sns, sqs = [
            await stack.enter_async_context(set_up_client(session, service)) for service in ("ses", "sns", "sqs")
        ]
        yield SetUpClients(ses, sns, sqs)


async def look(
    *, repairs: bool = False, configuration_set: str = "", queue_url: str = "", is_simulated: bool = False
) -> tuple[list[Finding], Wiring]:
    settings = Settings.model_validate(
        {"relay": {"ses_configuration_set": configuration_set}, "feedback": {"queue_url": queue_url}}
    )
    wiring = Wiring(configuration_set, queue_url, is_simulated=is_simulated)
    async with opened() as clients:
        return [one async for one in check_wiring(clients, settings, wiring, repairs=repairs)], wiring


def levels(findings: list[Finding]) -> dict[str, str]:
    return {one.about: one.level for one in findings}


def well(findings: list[Finding]) -> bool:
    return {one.level for one in findings} == {"ok"}


async def test_what_is_missing_is_told_then_made_then_found(endpoint: str) -> None:
    told, _ = await look()
    assert levels(told) == {"queue": "fail", "configuration set": "warn"}
    assert all("--fix" in one.remedy for one in told)

    made, wiring = await look(repairs=True)
    assert well(made), made
    assert [one.about for one in made if one.text.startswith("made")] == [
        *("queue", "configuration set", "topic", "queue's policy", "event destination")
    ]
    assert wiring.to_write == [
        *("[feedback]", f'queue_url = "{wiring.queue_url}"', "[relay]", f'ses_configuration_set = "{NAME}"')
    ]

    for repairs in (False, True):
        found, after = await look(repairs=repairs, configuration_set=NAME, queue_url=wiring.queue_url)
        assert well(found), found
        assert not [one for one in found if one.text.startswith(("made", "mended"))]
        assert after.to_write == []

    async with opened() as clients:
        attributes = (await clients.sqs.get_queue_attributes(QueueUrl=wiring.queue_url, AttributeNames=["All"]))[
            "Attributes"
        ]
        assert attributes["MessageRetentionPeriod"] == "1209600"
        (statement,) = json.loads(attributes["Policy"])["Statement"]
        assert statement["Condition"]["ArnEquals"] == {"aws:SourceArn": wiring.topic_arn}


def test_events_take_the_way_that_was_made(simulator: SimulatedSes, monkeypatch: pytest.MonkeyPatch) -> None:

    monkeypatch.setenv("AWS_ENDPOINT_URL", simulator.url)
    _, wiring = asyncio.run(look(repairs=True, configuration_set="own"))
    simulator.client("ses").send_raw_email(
        RawMessage={"Data": RAW}, Destinations=["bounce@simulator.amazonses.com"], ConfigurationSetName="own"
    )
    found = simulator.client("sqs").receive_message(QueueUrl=wiring.queue_url, MaxNumberOfMessages=10)["Messages"]
    texts = [json.loads(message["Body"])["Message"] for message in found]
    assert [json.loads(text)["eventType"] for text in texts if text.startswith("{")] == ["Send", "Bounce"]


async def test_each_broken_part_is_named_and_mended(simulator: SimulatedSes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", simulator.url)
    _, wiring = await look(repairs=True)
    named = {"configuration_set": NAME, "queue_url": wiring.queue_url}
    others = json.dumps({"Statement": [{"Sid": "others", "Effect": "Allow", "Principal": "*", "Action": "sqs:Get*"}]})
    async with opened() as clients:
        await clients.sqs.set_queue_attributes(QueueUrl=wiring.queue_url, Attributes={"Policy": others})
        await clients.sns.set_topic_attributes(
            TopicArn=wiring.topic_arn, AttributeName="Policy", AttributeValue='{"Statement": []}'
        )
        await clients.ses.update_configuration_set_event_destination(
            ConfigurationSetName=NAME,
            EventDestination={
                "Name": NAME,
                "Enabled": False,
                "MatchingEventTypes": ["open", "bounce"],
                "SNSDestination": {"TopicARN": wiring.topic_arn},
            },
        )
    told, _ = await look(**named)
    assert [about for about, level in levels(told).items() if level == "fail"] == [
        *("topic's policy", "queue's policy", "event destination")
    ]
    assert "lacks send, reject, complaint, delivery" in told[-1].text
    mended, _ = await look(repairs=True, **named)
    assert well(mended), mended
    assert well((await look(**named))[0])
    async with opened() as clients:
        policy = await clients.sqs.get_queue_attributes(QueueUrl=wiring.queue_url, AttributeNames=["Policy"])
        others_name, ours_name = [one["Sid"] for one in json.loads(policy["Attributes"]["Policy"])["Statement"]]
        assert others_name == "others"
        assert ours_name.startswith("MailsluiceFeedback")
        (destination,) = (
            await clients.ses.describe_configuration_set(
                ConfigurationSetName=NAME, ConfigurationSetAttributeNames=["eventDestinations"]
            )
        )["EventDestinations"]
        assert destination["Enabled"]
        assert set(destination["MatchingEventTypes"]) == {"open", *EVENT_TYPES}


async def test_two_installations_share_a_topic_and_neither_takes_the_others_grant(
    simulator: SimulatedSes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", simulator.url)
    _, prod = await look(repairs=True, configuration_set="prod")
    _, staging = await look(repairs=True, configuration_set="staging")
    assert prod.topic_arn == staging.topic_arn
    for name, wiring in (("prod", prod), ("staging", staging)):
        found, _ = await look(configuration_set=name, queue_url=wiring.queue_url)
        assert well(found), found


async def test_what_somebody_denied_is_told_and_left(simulator: SimulatedSes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", simulator.url)
    _, wiring = await look(repairs=True)
    named = {"configuration_set": NAME, "queue_url": wiring.queue_url}
    for condition, level in ({"StringNotEquals": {"aws:PrincipalOrgID": "o-1"}}, "warn"), ({}, "fail"):
        deny = {"Effect": "Deny", "Principal": "*", "Action": "*", "Resource": "*", "Condition": condition}
        policy = json.dumps({"Statement": [deny]})
        async with opened() as clients:
            await clients.sqs.set_queue_attributes(QueueUrl=wiring.queue_url, Attributes={"Policy": policy})
        told, _ = await look(repairs=True, **named)
        assert [one.level for one in told if one.about == "queue's policy"] == ["ok", level]
        async with opened() as clients:
            got = await clients.sqs.get_queue_attributes(QueueUrl=wiring.queue_url, AttributeNames=["Policy"])
        # Ours is written beside it: the denial may be about something else.
        assert json.loads(got["Attributes"]["Policy"])["Statement"][0] == deny
        (still,) = [one for one in (await look(**named))[0] if one.about == "queue's policy"]
        assert (still.level, "Effect Deny" in still.remedy) == (level, True)


async def test_a_way_that_somebody_else_made_is_taken_as_it_is(
    simulator: SimulatedSes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", simulator.url)
    queue = simulator.client("sqs").get_queue_url(QueueName="ses-events")["QueueUrl"]
    simulator.client("ses").create_configuration_set(ConfigurationSet={"Name": "own"})
    simulator.client("ses").create_configuration_set_event_destination(
        ConfigurationSetName="own",
        EventDestination={
            "Name": "theirs",
            "Enabled": True,
            "MatchingEventTypes": [*EVENT_TYPES, "open"],
            "SNSDestination": {"TopicARN": "arn:aws:sns:us-east-1:123456789012:ses-events"},
        },
    )
    found, _ = await look(repairs=True, configuration_set="own", queue_url=queue)
    assert well(found), found
    assert found[-1].text.startswith("theirs")
    assert [one["TopicArn"] for one in simulator.client("sns").list_topics()["Topics"]] == [
        "arn:aws:sns:us-east-1:123456789012:ses-events"
    ]


async def test_names_that_aws_does_not_know_are_mistakes_of_the_settings(
    simulator: SimulatedSes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", simulator.url)
    gone = f"{simulator.url}/sqs/123456789012/gone"
    told, _ = await look(configuration_set="gone", queue_url=gone)
    assert levels(told) == {"queue": "fail", "configuration set": "fail"}
    made, wiring = await look(repairs=True, configuration_set="gone", queue_url=gone)
    assert well(made), made
    assert wiring.to_write == []  # they got the names that the settings have


async def test_the_simulated_account_needs_no_set(simulator: SimulatedSes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", simulator.url)
    queue = simulator.client("sqs").get_queue_url(QueueName="ses-events")["QueueUrl"]
    assert well((await look(queue_url=queue, is_simulated=True))[0])


async def test_an_aws_that_cannot_be_reached_is_one_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    (finding,) = (await look(queue_url="http://127.0.0.1:9/123456789012/queue"))[0]
    assert (finding.level, finding.about) == ("fail", "AWS")


async def test_without_a_queue_no_proof_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    settings = Settings.model_validate({"data": {"dir": tmp_path}, "api": {"port": 9}, "smtp": {"port": 9}})
    examination = Examination(settings, DoctorOptions(is_json=True, sender="a@example.com"), is_simulated=False)
    await examination.run()
    assert [one.level for one in examination.findings if one.about == "queue"] == ["fail"]
    last = examination.findings[-1]
    assert (last.level, last.about, "left out" in last.text) == ("warn", "proof", True)


def test_what_is_to_be_written_asks_for_a_restart(tmp_path: Path) -> None:
    settings = Settings.model_validate({"data": {"dir": tmp_path}})
    examination = Examination(settings, DoctorOptions(is_json=True), is_simulated=False)
    assert "restart" not in ending_of(examination)
    examination.to_write.append("[relay]")
    assert "restart" in ending_of(examination)
