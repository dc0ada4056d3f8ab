"""boto3 and the seven operations on configuration sets: every parameter, limit and error of them."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import boto3
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from botocore.client import Config
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer
from redis import asyncio as aioredis

from aws_api.app import make_app
from aws_api.ses.configuration_sets import CONFIGURATION_SET_OFFERS, MAX_ITEMS
from aws_api.ses.topic_check import TEXT
from aws_api.wire.services import model_of
from config.redis_clients import redis_client
from config.settings import Settings
from tests.api_tools import tools_of
from tests.servers import RedisServer

STREAM = "arn:aws:firehose:us-east-1:123456789012:deliverystream/events"
ROLE = "arn:aws:iam::123456789012:role/events"
FIREHOSE = {"IAMRoleARN": ROLE, "DeliveryStreamARN": STREAM}
DIMENSION = {"DimensionName": "campaign", "DimensionValueSource": "messageTag", "DefaultDimensionValue": "none"}
HOOK = {"Url": "https://hooks.example.com/", "Secret": "0123456789abcdef"}
SETTINGS = {
    "configuration_sets": {
        "written": {
            "EventDestinations": [
                {"Name": "hook", "Enabled": True, "MatchingEventTypes": ["sluice:Held"], "WebhookDestination": HOOK}
            ]
        }
    }
}


@cache
def session() -> boto3.Session:
    """One for all, as it reads the models once."""
    return boto3.Session()


def boto3_client(service: str, url: str) -> Any:
    config = Config(retries={"total_max_attempts": 1}, proxies={}, read_timeout=60)
    return session().client(service, endpoint_url=url, config=config)


class Asking:
    """A boto3 client whose calls do not block the door's loop."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, operation: str) -> Any:
        return partial(asyncio.to_thread, getattr(self._client, operation))

    async def refusal(self, operation: str, **parameters: Any) -> tuple[str, str, dict[str, Any]]:
        """Code, text and further members of an error."""
        with pytest.raises(ClientError) as found:
            await getattr(self, operation)(**parameters)
        told = found.value.response
        assert told["ResponseMetadata"]["HTTPStatusCode"] == 400
        more = {name: value for name, value in told.items() if name not in {"Error", "ResponseMetadata"}}
        return told["Error"]["Code"], told["Error"]["Message"], more


@pytest.fixture(scope="module")
def shared_redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
async def redis(shared_redis: RedisServer) -> AsyncIterator[aioredis.Redis]:
    shared_redis.call("FLUSHALL", "SYNC")
    async with redis_client(shared_redis.url) as redis:
        yield redis


@pytest.fixture
async def ses(redis: aioredis.Redis, shared_redis: RedisServer, tmp_path: Path) -> AsyncIterator[Asking]:
    redis_settings = {"redis": {"url": shared_redis.url}, "data": {"dir": tmp_path}}
    settings = Settings.model_validate({**SETTINGS, **redis_settings, "api": {"trust_loopback": True}})
    tools = tools_of(settings, redis)
    app: web.Application = make_app(tools)
    async with TestServer(app, host="127.0.0.1") as server:
        yield Asking(boto3_client("ses", f"http://127.0.0.1:{server.port}"))
    await tools.updates.close()
    await tools.flow.close()


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
def topic(moto: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", moto)
    sns = boto3_client("sns", moto)
    arn = sns.create_topic(Name="events")["TopicArn"]
    yield arn
    sns.delete_topic(TopicArn=arn)


def destination(name: str = "one", **members: Any) -> dict[str, Any]:
    kinds = members if "KinesisFirehoseDestination" in members else {"KinesisFirehoseDestination": FIREHOSE, **members}
    return {"Name": name, "MatchingEventTypes": ["send"], **kinds}


async def described(ses: Asking, name: str = "orders") -> list[dict[str, Any]]:
    answer = await ses.describe_configuration_set(
        ConfigurationSetName=name, ConfigurationSetAttributeNames=["eventDestinations"]
    )
    return answer["EventDestinations"]


async def create(ses: Asking, *names: str) -> None:
    for name in names or ("orders",):
        await ses.create_configuration_set(ConfigurationSet={"Name": name})


async def put(ses: Asking, shape: dict[str, Any], set_name: str = "orders", *, is_new: bool = True) -> Any:
    operation = f"{'create' if is_new else 'update'}_configuration_set_event_destination"
    return await getattr(ses, operation)(ConfigurationSetName=set_name, EventDestination=shape)


def test_all_operations_of_the_model_that_have_to_be_are_offered() -> None:
    assert CONFIGURATION_SET_OFFERS.keys() <= set(model_of("ses").operation_names)
    assert len(CONFIGURATION_SET_OFFERS) == 7


def members_of(shape: Any) -> set[str]:
    if shape.type_name == "list":
        return members_of(shape.member)
    if shape.type_name != "structure":
        return set()
    return set(shape.members).union(*(members_of(member) for member in shape.members.values()))


def test_every_operation_parameter_and_error_is_told_on_the_pages() -> None:
    docs = Path(__file__).parents[2] / "docs"
    page = (
        (docs / "aws-compatibility.md").read_text("utf-8").partition("## Configuration sets")[2].partition("\n## ")[0]
    )
    dimensions = (docs / "events.md").read_text("utf-8")
    for name in CONFIGURATION_SET_OFFERS:
        operation = model_of("ses").operation_model(name)
        errors = {str(error.metadata["error"]["code"]) for error in operation.error_shapes}
        for word in {name, *members_of(operation.input_shape), *errors}:
            assert word in page or (word.startswith(("Dimension", "DefaultDimension")) and word in dimensions), word


async def test_a_set_is_made_described_and_removed(ses: Asking) -> None:
    await create(ses)
    answer = await ses.describe_configuration_set(ConfigurationSetName="orders")
    assert answer["ConfigurationSet"] == {"Name": "orders"}
    assert answer["ResponseMetadata"]["RequestId"]
    assert "EventDestinations" not in answer
    assert await described(ses) == []
    await ses.delete_configuration_set(ConfigurationSetName="orders")
    missing = ("ConfigurationSetDoesNotExist", "Configuration set <orders> does not exist.")
    for operation in ("describe_configuration_set", "delete_configuration_set"):
        code, text, more = await ses.refusal(operation, ConfigurationSetName="orders")
        assert (code, text) == missing
        assert more == {"ConfigurationSetName": "orders"}


async def test_a_set_is_made_once(ses: Asking) -> None:
    await create(ses)
    for name in ("orders", "written"):
        assert await ses.refusal("create_configuration_set", ConfigurationSet={"Name": name}) == (
            "ConfigurationSetAlreadyExists",
            f"Configuration set <{name}> already exists.",
            {"ConfigurationSetName": name},
        )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a b", "Invalid configuration set name <a b>: only alphanumeric ASCII characters, '_', and '-' are allowed."),
        ("é&<", "Invalid configuration set name <é&<>: only alphanumeric ASCII characters, '_', and '-' are allowed."),
        ("x" * 65, "Configuration set name cannot exceed 64 characters."),
        ("", "The configuration set name must be specified."),
    ],
)
async def test_a_name_that_cannot_be_is_refused(ses: Asking, name: str, text: str) -> None:
    answer = await ses.refusal("create_configuration_set", ConfigurationSet={"Name": name})
    assert answer == ("InvalidConfigurationSet", text, {})
    code, _, more = await ses.refusal("describe_configuration_set", ConfigurationSetName=name)
    assert code == "ConfigurationSetDoesNotExist"
    assert more.get("ConfigurationSetName") or not name


async def test_attributes_that_are_not_kept_here_are_told_as_ses_has_them_by_default(ses: Asking) -> None:
    await create(ses)
    everything = ["eventDestinations", "trackingOptions", "deliveryOptions", "reputationOptions"]
    answer = await ses.describe_configuration_set(
        ConfigurationSetName="orders", ConfigurationSetAttributeNames=everything
    )
    assert answer["EventDestinations"] == []
    assert answer["ReputationOptions"] == {"SendingEnabled": True, "ReputationMetricsEnabled": False}
    assert answer.keys() == {"ConfigurationSet", "EventDestinations", "ReputationOptions", "ResponseMetadata"}
    code, text, _ = await ses.refusal(
        "describe_configuration_set", ConfigurationSetName="orders", ConfigurationSetAttributeNames=["colour"]
    )
    assert code == "ValidationError"
    assert "colour" in text


async def test_sets_are_listed_in_pages(ses: Asking) -> None:
    names = [f"set-{number}" for number in range(5)]
    await create(ses, *names)
    everything = [{"Name": name} for name in [*names, "written"]]
    answer = await ses.list_configuration_sets()
    assert answer["ConfigurationSets"] == everything
    assert "NextToken" not in answer
    found: list[dict[str, str]] = []
    token: dict[str, str] = {}
    for size in (2, 2, 2):
        page = await ses.list_configuration_sets(MaxItems=size, **token)
        found += page["ConfigurationSets"]
        token = {"NextToken": page["NextToken"]} if "NextToken" in page else {}
    assert found == everything
    assert not token


@pytest.mark.parametrize("most", [0, -1, MAX_ITEMS + 1])
async def test_a_page_has_between_one_and_a_thousand_sets(ses: Asking, most: int) -> None:
    code, text, _ = await ses.refusal("list_configuration_sets", MaxItems=most)
    assert (code, text) == ("InvalidParameterValue", f"Invalid MaxItems <{most}>: it must be from 1 to 1000.")


@pytest.mark.parametrize("token", ["orders", "é", "MTphIGI=", "Mjphbg==", "x" * 5000])
async def test_a_token_that_nobody_gave_is_refused(ses: Asking, token: str) -> None:
    answer = await ses.refusal("list_configuration_sets", NextToken=token)
    assert answer == ("InvalidParameterValue", "Invalid NextToken.", {})


async def test_a_page_without_a_size_has_a_thousand_sets(ses: Asking, redis: aioredis.Redis) -> None:
    await redis.zadd("{ms}:sets", {f"s{number:05}": 0 for number in range(1500)})
    first = await ses.list_configuration_sets()
    assert len(first["ConfigurationSets"]) == 1000
    second = await ses.list_configuration_sets(NextToken=first["NextToken"])
    assert len(second["ConfigurationSets"]) == 501


async def test_the_ten_thousandth_set_is_the_last(ses: Asking, redis: aioredis.Redis) -> None:
    await redis.zadd("{ms}:sets", {f"s{number:05}": 0 for number in range(10_000)})
    code, text, more = await ses.refusal("create_configuration_set", ConfigurationSet={"Name": "orders"})
    assert (code, more) == ("LimitExceeded", {})
    assert "10000" in text


async def test_destinations_of_every_kind_of_the_api_are_kept_as_they_came(ses: Asking, topic: str) -> None:
    await create(ses)
    shapes = [
        {
            "Name": "dimensions",
            "Enabled": True,
            "MatchingEventTypes": ["bounce", "complaint", "send"],
            "CloudWatchDestination": {
                "DimensionConfigurations": [
                    DIMENSION,
                    {**DIMENSION, "DimensionName": "ses:from-domain", "DimensionValueSource": "emailHeader"},
                    {**DIMENSION, "DimensionName": "link", "DimensionValueSource": "linkTag"},
                ]
            },
        },
        {**destination("stream"), "Enabled": False},
        {
            "Name": "topic",
            "Enabled": True,
            "MatchingEventTypes": ["click", "delivery", "open", "reject", "renderingFailure"],
            "SNSDestination": {"TopicARN": topic},
        },
    ]
    for shape in reversed(shapes):
        await put(ses, shape)
    assert await described(ses) == shapes


async def test_enabled_left_out_is_false(ses: Asking) -> None:
    await create(ses)
    await put(ses, destination())
    assert [one["Enabled"] for one in await described(ses)] == [False]


async def test_event_types_that_v1_does_not_have_may_be_asked_for(ses: Asking) -> None:
    await create(ses)
    await put(ses, {**destination(), "MatchingEventTypes": ["DELIVERY_DELAY", "subscription", "BOUNCE"]})
    assert [one["MatchingEventTypes"] for one in await described(ses)] == [["bounce", "deliveryDelay", "subscription"]]


async def test_an_update_replaces_all_of_a_destination(ses: Asking, topic: str) -> None:
    await create(ses)
    await put(ses, {**destination(), "Enabled": True})
    changed = {"Name": "one", "MatchingEventTypes": ["bounce"], "SNSDestination": {"TopicARN": topic}}
    await put(ses, changed, is_new=False)
    assert await described(ses) == [{**changed, "Enabled": False}]


async def test_a_destination_is_made_once_and_changed_when_it_is_there(ses: Asking) -> None:
    await create(ses)
    both = {"ConfigurationSetName": "orders", "EventDestinationName": "one"}
    update, make = "update_configuration_set_event_destination", "create_configuration_set_event_destination"
    shape = {"ConfigurationSetName": "orders", "EventDestination": destination()}
    nothing = ("EventDestinationDoesNotExist", "No EventDestination found for orders", both)
    assert await ses.refusal(update, **shape) == nothing
    assert await ses.refusal("delete_configuration_set_event_destination", **both) == nothing
    await put(ses, destination())
    code, text, more = await ses.refusal(make, **shape)
    assert (code, more) == ("EventDestinationAlreadyExists", both)
    assert text == "An event destination with name <one> already exists for configuration set <orders>."
    await ses.delete_configuration_set_event_destination(**both)
    assert await described(ses) == []


async def test_a_destination_needs_its_set(ses: Asking) -> None:
    missing = (
        "ConfigurationSetDoesNotExist",
        "Configuration set <other> does not exist.",
        {"ConfigurationSetName": "other"},
    )
    shape = {"ConfigurationSetName": "other", "EventDestination": destination()}
    assert await ses.refusal("create_configuration_set_event_destination", **shape) == missing
    assert await ses.refusal("update_configuration_set_event_destination", **shape) == missing
    removed = {"ConfigurationSetName": "other", "EventDestinationName": "one"}
    assert await ses.refusal("delete_configuration_set_event_destination", **removed) == missing


async def test_the_eleventh_destination_is_over_the_limit(ses: Asking) -> None:
    await create(ses)
    for number in range(10):
        await put(ses, destination(f"d{number}"))
    shape = {"ConfigurationSetName": "orders", "EventDestination": destination()}
    code, text, more = await ses.refusal("create_configuration_set_event_destination", **shape)
    assert (code, more) == ("LimitExceeded", {})
    assert "10 event destinations" in text


CLOUDWATCH = "CloudWatchDestination"


@pytest.mark.parametrize(
    ("shape", "code"),
    [
        (destination("a b"), "InvalidParameterValue"),
        (destination("x" * 65), "InvalidParameterValue"),
        (destination(""), "InvalidParameterValue"),
        ({**destination(), "MatchingEventTypes": []}, "InvalidParameterValue"),
        ({**destination(), "MatchingEventTypes": ["bouce"]}, "InvalidParameterValue"),
        ({**destination(), "MatchingEventTypes": ["sluice:Accepted"]}, "InvalidParameterValue"),
        ({"Name": "one", "MatchingEventTypes": ["send"]}, "InvalidParameterValue"),
        ({**destination(), CLOUDWATCH: {"DimensionConfigurations": [DIMENSION]}}, "InvalidParameterValue"),
        (destination(KinesisFirehoseDestination={**FIREHOSE, "IAMRoleARN": "events"}), "InvalidFirehoseDestination"),
        (
            destination(KinesisFirehoseDestination={**FIREHOSE, "DeliveryStreamARN": ROLE}),
            "InvalidFirehoseDestination",
        ),
        (
            {"Name": "one", "MatchingEventTypes": ["send"], "SNSDestination": {"TopicARN": STREAM}},
            "InvalidSNSDestination",
        ),
        (
            {"Name": "one", "MatchingEventTypes": ["send"], CLOUDWATCH: {"DimensionConfigurations": []}},
            "InvalidCloudWatchDestination",
        ),
        (
            {"Name": "one", "MatchingEventTypes": ["send"], CLOUDWATCH: {"DimensionConfigurations": [DIMENSION] * 2}},
            "InvalidCloudWatchDestination",
        ),
        (
            {"Name": "one", "MatchingEventTypes": ["send"], CLOUDWATCH: {"DimensionConfigurations": [DIMENSION] * 11}},
            "LimitExceeded",
        ),
    ],
)
async def test_a_destination_that_cannot_be_is_refused_when_made_and_when_changed(
    ses: Asking, shape: dict[str, Any], code: str
) -> None:
    await create(ses)
    both = {"ConfigurationSetName": "orders", "EventDestinationName": shape["Name"]}
    for operation in ("create", "update"):
        told = await ses.refusal(
            f"{operation}_configuration_set_event_destination", ConfigurationSetName="orders", EventDestination=shape
        )
        assert told[0] == code
        assert told[1]
        assert told[2] == (both if code.endswith("Destination") else {})
    assert await described(ses) == []


async def test_the_files_sets_are_shown_without_secrets_and_not_changed(ses: Asking) -> None:
    assert await described(ses, "written") == [{"Name": "hook", "Enabled": True, "MatchingEventTypes": ["sluice:Held"]}]
    shape = {"ConfigurationSetName": "written", "EventDestination": destination("hook")}
    removed = {"ConfigurationSetName": "written", "EventDestinationName": "hook"}
    for operation, parameters in (
        ("delete_configuration_set", {"ConfigurationSetName": "written"}),
        ("create_configuration_set_event_destination", shape),
        ("update_configuration_set_event_destination", shape),
        ("delete_configuration_set_event_destination", removed),
    ):
        code, text, _ = await ses.refusal(operation, **parameters)
        assert code == "InvalidConfigurationSet"
        assert "mailsluice.toml" in text


def messages_of(moto: str) -> Any:
    """A queue behind the topic; returns what came to it when called."""
    sqs, sns = boto3_client("sqs", moto), boto3_client("sns", moto)
    url = sqs.create_queue(QueueName="seen")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    topics = sns.list_topics()["Topics"]
    for one in topics:
        sns.subscribe(TopicArn=one["TopicArn"], Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"})

    def seen() -> list[str]:
        return [one["Body"] for one in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", [])]

    return seen


async def test_a_topic_is_told_once_that_it_is_right(ses: Asking, topic: str, moto: str) -> None:
    seen = await asyncio.to_thread(messages_of, moto)
    await create(ses)
    shape = {"Name": "topic", "MatchingEventTypes": ["send"], "SNSDestination": {"TopicARN": topic}}
    await put(ses, shape)
    assert await asyncio.to_thread(seen) == [TEXT]
    await put(ses, {**shape, "Enabled": True}, is_new=False)
    assert await asyncio.to_thread(seen) == []


async def test_a_topic_that_is_not_there_is_refused(ses: Asking, topic: str) -> None:
    await create(ses)
    absent = f"{topic}-gone"
    shape = {"Name": "topic", "MatchingEventTypes": ["send"], "SNSDestination": {"TopicARN": absent}}
    told = await ses.refusal(
        "create_configuration_set_event_destination", ConfigurationSetName="orders", EventDestination=shape
    )
    both = {"ConfigurationSetName": "orders", "EventDestinationName": "topic"}
    assert told == ("InvalidSNSDestination", f"SNS topic <{absent}> not found.", both)
    assert await described(ses) == []


async def test_a_topic_that_cannot_be_asked_is_refused(
    ses: Asking, topic: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SNS", "http://127.0.0.1:1")
    await create(ses)
    shape = {"Name": "topic", "MatchingEventTypes": ["send"], "SNSDestination": {"TopicARN": topic}}
    code, text, _ = await ses.refusal(
        "create_configuration_set_event_destination", ConfigurationSetName="orders", EventDestination=shape
    )
    assert code == "InvalidSNSDestination"
    assert text == f"SNS topic <{topic}> could not be asked: EndpointConnectionError."
