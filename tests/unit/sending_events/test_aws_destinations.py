"""What AWS services answer in part, refuse or do not answer, told apart; the services themselves: tests/contract/."""

import orjson
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from botocore.parsers import ResponseParserError

from config.errors import Refused, TryLater
from sending_events.destinations.aws_targets import AwsFailed, AwsTargets, region_of
from sending_events.destinations.cloud_watch import (
    CloudWatchDestination,
    dimensions_of,
    happened_at,
    metric_of,
)
from sending_events.destinations.event_bridge import DETAIL_TYPES, EventBridgeDestination
from sending_events.destinations.firehose import FirehoseDestination
from sending_events.destinations.parts import REMEMBERED_SECONDS, Taken
from sending_events.destinations.sns import SnsDestination, confirm_topic
from sending_events.records import EVENT_TYPES
from tests.contract.event_services import an_event

RECORDS = [an_event(number) for number in range(4)]
STREAM = {"DeliveryStreamARN": "arn:aws:firehose:eu-west-1:123456789012:deliverystream/s"}
TOPIC = {"TopicARN": "arn:aws:sns:eu-west-1:123456789012:t"}
BUS = {"EventBusArn": "arn:aws:events:eu-west-1:123456789012:event-bus/b"}


METRICS_TAKEN = {"ResponseMetadata": {"RequestId": "1"}}


class Calls:
    """AwsTargets whose calls are answered by a function of the call's number and parameters."""

    def __init__(self, answer):
        self.answer = answer
        self.made = []

    async def call(self, service, region, operation, **parameters):
        self.made.append((service, region, operation, parameters))
        found = self.answer(len(self.made), parameters)
        if isinstance(found, Exception):
            raise found
        return found


def firehose_answer(number, parameters):
    records = parameters["Records"]
    if number > 1:
        return {"FailedPutCount": 0, "RequestResponses": [{"RecordId": "x"} for _ in records]}
    results = [{"RecordId": "x"}, {"ErrorCode": "ServiceUnavailableException"}] * (len(records) // 2)
    return {"FailedPutCount": len(records) // 2, "RequestResponses": results}


async def test_firehose_gets_exactly_the_records_again_that_it_did_not_take():
    aws = Calls(firehose_answer)
    one = FirehoseDestination("s:f", STREAM, aws)
    with pytest.raises(TryLater, match="did not take 2 of 4 records: ServiceUnavailableException"):
        await one.take(RECORDS)
    await one.take(RECORDS)
    sent = [[record["Data"] for record in parameters["Records"]] for *_, parameters in aws.made]
    assert sent == [[record + b"\n" for record in RECORDS], [RECORDS[1] + b"\n", RECORDS[3] + b"\n"]]
    assert aws.made[0][:3] == ("firehose", "eu-west-1", "put_record_batch")
    await one.take(RECORDS)  # a replay is given away as a whole
    assert len(aws.made[-1][3]["Records"]) == 4


async def test_firehose_requests_keep_both_limits():
    aws = Calls(
        lambda _, parameters: {
            "FailedPutCount": 0,
            "RequestResponses": [{"RecordId": "x"}] * len(parameters["Records"]),
        }
    )
    await FirehoseDestination("s:f", STREAM, aws).take([an_event(n, padding="x" * 900_000) for n in range(9)])
    assert [len(parameters["Records"]) for *_, parameters in aws.made] == [4, 4, 1]


async def test_a_part_of_sns_is_published_again_and_what_never_can_be_is_refused():
    failed = {"Id": "1", "Code": "InternalError", "SenderFault": False}
    aws = Calls(lambda *_: {"Successful": [{"Id": number} for number in "023"], "Failed": [failed]})
    one = SnsDestination("s:t", TOPIC, aws)
    with pytest.raises(TryLater, match="1 of 4 events: InternalError"):
        await one.take(RECORDS)
    aws.answer = lambda *_: {"Failed": [{"Id": "0", "Code": "InvalidParameter", "SenderFault": True}]}
    with pytest.raises(Refused):
        await one.take(RECORDS)
    sent = [[entry["Message"].encode() for entry in made[3]["PublishBatchRequestEntries"]] for made in aws.made]
    assert sent == [RECORDS, [RECORDS[1]]]


async def test_a_part_of_event_bridge_is_put_again():
    def answer(number, parameters):
        if number == 1:
            return {"FailedEntryCount": 1, "Entries": [{"EventId": "1"}, {"ErrorCode": "InternalFailure"}, {}, {}]}
        return {"FailedEntryCount": 0, "Entries": [{}]}

    aws = Calls(answer)
    one = EventBridgeDestination("s:b", BUS, aws)
    with pytest.raises(TryLater, match="1 of 4 events: InternalFailure"):
        await one.take(RECORDS)
    await one.take(RECORDS)
    assert [entry["Detail"].encode() for entry in aws.made[1][3]["Entries"]] == [RECORDS[1]]
    aws.answer = lambda *_: {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "MalformedDetail"}]}
    with pytest.raises(Refused):
        await one.take(RECORDS[:1])


async def test_entries_of_event_bridge_name_the_identity():
    aws = Calls(lambda *_: {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}, {"EventId": "2"}]})
    event = orjson.loads(RECORDS[0])
    event["mail"]["sourceArn"] = "arn:aws:ses:eu-west-1:123456789012:identity/example.com"
    await EventBridgeDestination("s:b", BUS, aws).take([orjson.dumps(event), RECORDS[1]])
    first, second = aws.made[0][3]["Entries"]
    assert first["Resources"] == [event["mail"]["sourceArn"]]
    assert "Resources" not in second
    assert (first["Source"], first["EventBusName"]) == ("mailsluice.ses", BUS["EventBusArn"])


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"RequestResponses": [], "Entries": [], "Successful": [], "ResponseMetadata": {"HTTPStatusCode": 200}},
        {"RequestResponses": [{}] * 3, "Entries": [{}] * 3, "Successful": [{"Id": "0"}, {"Id": "1"}]},
        {"RequestResponses": "none", "Entries": [None] * 4, "Failed": [{"Id": "9", "Code": "x"}]},
    ],
)
@pytest.mark.parametrize("kind", ["firehose", "sns", "eventbridge", "cloudwatch"])
async def test_an_answer_that_says_nothing_about_the_events_is_no_yes(kind, answer):
    aws = Calls(lambda *_: answer)
    one = {
        "firehose": FirehoseDestination("s:f", STREAM, aws),
        "sns": SnsDestination("s:t", TOPIC, aws),
        "eventbridge": EventBridgeDestination("s:b", BUS, aws),
        "cloudwatch": CloudWatchDestination("s:c", {}, aws),
    }[kind]
    now = happened_at({"eventType": "Send"}).isoformat()
    for tries in (1, 2):
        with pytest.raises(TryLater, match="did not say what became of the events"):
            await one.take([an_event(number, send={"timestamp": now}) for number in range(4)])
        assert len(aws.made) == tries, "all of them are given again"


@pytest.mark.parametrize("odd", [{"click": [1]}, {"mail": {"tags": [], "timestamp": 5}}, {"click": {"timestamp": 5}}])
async def test_an_event_of_an_odd_form_is_refused_by_cloud_watch_and_no_trouble(odd):
    aws = Calls(lambda *_: METRICS_TAKEN)
    dimension = {"DimensionName": "team", "DimensionValueSource": "messageTag", "DefaultDimensionValue": "none"}
    event = orjson.loads(an_event(1, "Click")) | odd
    with pytest.raises(Refused, match="not in SES's form"):
        await CloudWatchDestination("s:c", {"DimensionConfigurations": [dimension]}, aws).take([orjson.dumps(event)])
    assert aws.made == []


async def test_events_too_large_for_a_service_are_refused_before_any_call():
    aws = Calls(lambda *_: {})
    for one, padding in (
        (FirehoseDestination("s:f", STREAM, aws), 1_024_000),
        (SnsDestination("s:t", TOPIC, aws), 262_144),
        (EventBridgeDestination("s:b", BUS, aws), 262_144),
    ):
        with pytest.raises(Refused, match="larger than"):
            await one.take([RECORDS[0], an_event(2, padding="x" * padding)])
    assert aws.made == []


async def test_a_metric_is_counted_once_for_all_events_of_a_minute():
    aws = Calls(lambda *_: METRICS_TAKEN)
    dimension = {"DimensionName": "team", "DimensionValueSource": "messageTag", "DefaultDimensionValue": "none"}
    one = CloudWatchDestination("s:c", {"DimensionConfigurations": [dimension], "Region": "eu-west-1"}, aws)
    now = happened_at({"eventType": "Send"}).isoformat()
    same = [an_event(number, send={"timestamp": now}) for number in range(3)]
    other = orjson.loads(an_event(9, send={"timestamp": now}))
    other["mail"]["tags"] = {}
    await one.take([*same, orjson.dumps(other)])
    [(service, region, operation, parameters)] = aws.made
    assert (service, region, operation, parameters["Namespace"]) == (
        "cloudwatch", "eu-west-1", "put_metric_data", "mailsluice",
    )  # fmt: skip
    told = [(one["MetricName"], one["Dimensions"], one["Values"], one["Counts"]) for one in parameters["MetricData"]]
    assert told == [
        ("Send", [{"Name": "team", "Value": "shop"}], [1.0], [3.0]),
        ("Send", [{"Name": "team", "Value": "none"}], [1.0], [1.0]),
    ]


async def test_metric_data_that_were_taken_are_not_counted_again_when_the_next_call_fails():
    def answer(number, parameters):
        return AwsFailed("CloudWatch did not answer") if number == 2 else METRICS_TAKEN

    aws = Calls(answer)
    dimension = {"DimensionName": "team", "DimensionValueSource": "messageTag", "DefaultDimensionValue": "none"}
    now = happened_at({"eventType": "Send"}).isoformat()
    records = []
    for number in range(1100):
        event = orjson.loads(an_event(number, send={"timestamp": now}))
        event["mail"]["tags"] = {"team": [f"team-{number}"]}
        records.append(orjson.dumps(event))
    one = CloudWatchDestination("s:c", {"DimensionConfigurations": [dimension]}, aws)
    with pytest.raises(TryLater):
        await one.take(records)
    await one.take(records)
    assert [len(parameters["MetricData"]) for *_, parameters in aws.made] == [1000, 100, 100]


async def test_data_that_cloud_watch_can_never_take_are_refused():
    aws = Calls(lambda *_: AwsFailed("CloudWatch answered X", code="InvalidParameterValue"))
    now = happened_at({"eventType": "Send"}).isoformat()
    with pytest.raises(Refused):
        await CloudWatchDestination("s:c", {}, aws).take([an_event(1, send={"timestamp": now})])


def test_metrics_have_the_names_of_ses():
    assert [metric_of({"eventType": one}) for one in ("Rendering Failure", "DeliveryDelay", "sluice:Held")] == [
        "RenderingFailure", "DeliveryDelay", "sluice:Held",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "source", "expected"),
    [
        ("team", "messageTag", "shop"),
        ("ses:source-ip", "messageTag", "192.0.2.1"),
        ("x-CAMPAIGN", "emailHeader", "spring"),
        ("subject", "emailHeader", "default"),  # no ASCII
        ("colour", "linkTag", "red"),
        ("other", "messageTag", "default"),
        ("other", "emailHeader", "default"),
        ("other", "linkTag", "default"),
    ],
)
def test_dimensions_come_from_tags_headers_and_links(name, source, expected):
    event = orjson.loads(an_event(1, "Click", click={"linkTags": {"colour": ["red"]}}))
    configured = [{"DimensionName": name, "DimensionValueSource": source, "DefaultDimensionValue": "default"}]
    assert dimensions_of(event, configured) == ((name, expected),)


def test_an_event_happened_when_its_object_says():
    bounce = orjson.loads(an_event(1, "Bounce", bounce={"timestamp": "2026-11-21T11:22:33.000Z"}))
    assert happened_at(bounce).isoformat() == "2026-11-21T11:22:33+00:00"
    assert happened_at(orjson.loads(an_event())).isoformat() == "2026-11-21T10:00:00.123000+00:00"


def test_ours_keep_their_names_as_detail_types():
    assert all(event_type not in DETAIL_TYPES for event_type, _ in EVENT_TYPES.values() if "sluice:" in event_type)


class Client:
    """An AWS client of the test: raises what it is given."""

    def __init__(self, error):
        self.error = error
        self.is_closed = False

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        self.is_closed = True

    async def publish(self, **_):
        raise self.error


def refusal(code):
    return ClientError({"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": 400}}, "x")


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (refusal("NotFound"), "SNS answered NotFound"),
        (refusal("ThrottledException"), "SNS answered ThrottledException"),
        (NoCredentialsError(), "there are no AWS credentials for SNS"),
        (EndpointConnectionError(endpoint_url="http://x"), r"SNS did not answer \(EndpointConnectionError\)"),
        (KeyError("Error"), r"SNS cannot be called, or understood \(KeyError\)"),
        (ResponseParserError("no XML"), r"SNS cannot be called, or understood \(ResponseParserError\)"),
    ],
)
async def test_whatever_a_service_does_not_do_is_tried_later(error, reason):
    client = Client(error)
    opened = []
    aws = AwsTargets(lambda service, region: opened.append((service, region)) or client)
    for _ in range(2):
        with pytest.raises(AwsFailed, match=reason):
            await aws.call("sns", "eu-west-1", "publish", TopicArn="x")
    assert opened == [("sns", "eu-west-1")]
    await aws.close()
    assert client.is_closed


async def test_an_endpoint_that_is_no_url_is_tried_later(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "no url")
    aws = AwsTargets()
    with pytest.raises(AwsFailed, match="SNS cannot be called"):
        await aws.call("sns", "eu-west-1", "publish", TopicArn="x", Message="y")
    await aws.close()


async def test_a_topic_that_cannot_be_asked_is_not_one_that_is_missing():
    for code, kind in (("NotFound", Refused), ("AuthorizationError", Refused), ("Throttled", TryLater)):
        aws = Calls(lambda *_, code=code: AwsFailed(f"SNS answered {code}", code=code))
        with pytest.raises(kind):
            await confirm_topic(aws, TOPIC["TopicARN"])


def test_the_region_is_that_of_the_arn():
    assert region_of("arn:aws-cn:sns:cn-north-1:123456789012:t") == "cn-north-1"
    assert region_of("no arn") == ""


def test_what_was_taken_is_remembered_until_the_part_must_have_come_again():
    now = [0.0]
    taken = Taken(lambda: now[0])
    taken.add([b"a", b"b"])
    assert taken.rest_of([b"a", b"b", b"c"]) == [b"c"]
    taken.forget([b"a"])
    assert taken.rest_of([b"a", b"b", b"c"]) == [b"a", b"c"]
    now[0] = REMEMBERED_SECONDS + 1
    assert taken.rest_of([b"a", b"b", b"c"]) == [b"a", b"b", b"c"]
