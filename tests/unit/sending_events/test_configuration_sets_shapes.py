"""EventDestination as the API and the file write it: what is read, what is refused, what is shown again."""

from typing import Any

import pytest

from sending_events.configuration_sets.records import KINDS, MATCHING_EVENT_TYPES
from sending_events.configuration_sets.shapes import (
    API_KINDS,
    OUR_EVENT_TYPES,
    WrongDestination,
    described,
    name_mistake,
    read_destination,
)
from sending_events.configuration_sets.targets import MEMBERS

TOPIC = "arn:aws:sns:us-east-1:123456789012:events"
STREAM = "arn:aws:firehose:eu-west-1:123456789012:deliverystream/events"
ROLE = "arn:aws:iam::123456789012:role/service-role/events"
DIMENSION = {"DimensionName": "campaign", "DimensionValueSource": "messageTag", "DefaultDimensionValue": "none"}

#: One right target of every kind.
TARGETS: dict[str, dict[str, Any]] = {
    "CloudWatchDestination": {"DimensionConfigurations": [DIMENSION]},
    "KinesisFirehoseDestination": {"IAMRoleARN": ROLE, "DeliveryStreamARN": STREAM},
    "SNSDestination": {"TopicARN": TOPIC},
    "EventBridgeDestination": {"EventBusArn": "arn:aws:events:us-east-1:123456789012:event-bus/default"},
    "WebhookDestination": {"Url": "https://hooks.example.com/ses", "Secret": "0123456789abcdef"},
    "RedisStreamDestination": {"Key": "ses-events", "MaxLength": 1000},
    "FileDestination": {"Path": "orders.ndjson"},
    "LogDestination": {},
}


def shape(**members: Any) -> dict[str, Any]:
    return {"Name": "one", "MatchingEventTypes": ["bounce"], **members}


def topic(**members: Any) -> dict[str, Any]:
    return shape(SNSDestination={"TopicARN": TOPIC}, **members)


def mistakes(wrong: dict[str, Any], *, is_of_file: bool = False) -> list[str]:
    with pytest.raises(WrongDestination) as found:
        read_destination(wrong, is_of_file=is_of_file)
    return [mistake.text for mistake in found.value.mistakes]


def abouts(wrong: dict[str, Any]) -> set[str]:
    with pytest.raises(WrongDestination) as found:
        read_destination(wrong)
    return {mistake.about for mistake in found.value.mistakes}


@pytest.mark.parametrize("member", KINDS)
def test_every_kind_is_read_from_the_file(member: str) -> None:
    destination = read_destination(shape(Enabled=True, **{member: TARGETS[member]}), is_of_file=True)
    assert destination.kind == KINDS[member]
    assert destination.target == TARGETS[member]
    assert destination.is_enabled
    assert destination.event_types == {"Bounce"}


@pytest.mark.parametrize("member", API_KINDS)
def test_what_the_api_wrote_it_reads_again(member: str) -> None:
    written = shape(Enabled=True, **{member: TARGETS[member]})
    assert described(read_destination(written)) == written


def test_a_destination_is_disabled_unless_it_says_otherwise() -> None:
    assert not read_destination(topic()).is_enabled


def test_a_kind_that_the_api_does_not_have_is_shown_without_its_target() -> None:
    hook = read_destination(shape(WebhookDestination=TARGETS["WebhookDestination"]), is_of_file=True)
    assert described(hook) == {"Name": "one", "Enabled": False, "MatchingEventTypes": ["bounce"]}
    assert "0123456789abcdef" not in repr(hook)


def test_every_kind_has_its_members_and_a_sample() -> None:
    assert MEMBERS.keys() == set(KINDS.values())
    assert TARGETS.keys() == KINDS.keys()


@pytest.mark.parametrize(("spelling", "told"), MATCHING_EVENT_TYPES.items())
def test_event_types_of_v1_are_read_and_shown(spelling: str, told: str) -> None:
    destination = read_destination(topic(MatchingEventTypes=[spelling]))
    assert destination.event_types == {told}
    assert described(destination)["MatchingEventTypes"] == [spelling]


@pytest.mark.parametrize(
    ("spelling", "told"), [("RENDERING_FAILURE", "Rendering Failure"), ("DELIVERY_DELAY", "DeliveryDelay")]
)
def test_event_types_of_v2_are_read_too(spelling: str, told: str) -> None:
    assert read_destination(topic(MatchingEventTypes=[spelling])).event_types == {told}


def test_event_types_of_ours_stand_in_the_file_only() -> None:
    written = topic(MatchingEventTypes=sorted(OUR_EVENT_TYPES))
    assert read_destination(written, is_of_file=True).event_types == OUR_EVENT_TYPES
    assert "sluice:Accepted" in OUR_EVENT_TYPES
    assert mistakes(written)[0].startswith(f"Invalid event type <{min(OUR_EVENT_TYPES)}>: allowed are send, ")


@pytest.mark.parametrize("types", [None, [], "bounce"])
def test_at_least_one_event_type_is_needed(types: Any) -> None:
    assert mistakes(topic(MatchingEventTypes=types)) == ["At least one event type must be specified."]


def test_a_destination_is_needed_and_one_only() -> None:
    assert mistakes(shape()) == ["Event destination is not provided."]
    two = topic(KinesisFirehoseDestination=TARGETS["KinesisFirehoseDestination"])
    (text,) = mistakes(two)
    assert text == (
        "Please provide only one destination with each request. Either a Firehose Destination or a Cloudwatch "
        "Destination or an SNS Destination or an EventBridge Destination."
    )


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a b", "Invalid event destination name <a b>: only alphanumeric ASCII characters, '_', and '-' are allowed."),
        ("é", "Invalid event destination name <é>: only alphanumeric ASCII characters, '_', and '-' are allowed."),
        (
            "x\n",
            "Invalid event destination name <'x\\n'>: only alphanumeric ASCII characters, '_', and '-' are allowed.",
        ),
        ("x" * 65, "Event destination name cannot exceed 64 characters."),
        ("", "The event destination name must be specified."),
        (None, "The event destination name must be specified."),
    ],
)
def test_names_have_a_form_and_a_length(name: Any, text: str) -> None:
    assert mistakes(topic(Name=name)) == [text]


def test_a_name_of_64_characters_can_be() -> None:
    assert name_mistake("x" * 64, "configuration set") == ""


@pytest.mark.parametrize(
    "arn",
    [
        "events",
        "arn:aws:sns:us-east-1:123456789012:events.fifo",
        "arn:aws:sns:us-east-1:123:events",
        "arn:aws:sqs:us-east-1:123456789012:events",
        TOPIC + "\n",
        "",
    ],
)
def test_a_topic_must_be_the_arn_of_a_standard_topic(arn: str) -> None:
    assert abouts(shape(SNSDestination={"TopicARN": arn})) == {"sns"}


def test_arns_of_other_partitions_can_be() -> None:
    china = "arn:aws-cn:sns:cn-north-1:123456789012:events"
    assert read_destination(shape(SNSDestination={"TopicARN": china})).target == {"TopicARN": china}


def test_firehose_needs_both_arns_by_the_api_and_the_stream_only_in_the_file() -> None:
    bare = shape(KinesisFirehoseDestination={"DeliveryStreamARN": STREAM})
    assert mistakes(bare) == ["KinesisFirehoseDestination needs IAMRoleARN"]
    assert abouts(bare) == {"firehose"}
    assert read_destination(bare, is_of_file=True).target == {"DeliveryStreamARN": STREAM}
    swapped = shape(KinesisFirehoseDestination={"IAMRoleARN": STREAM, "DeliveryStreamARN": ROLE})
    assert len(mistakes(swapped)) == 2


def dimensions(*found: dict[str, Any]) -> dict[str, Any]:
    return shape(CloudWatchDestination={"DimensionConfigurations": list(found)})


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"DimensionName": "a b"}, "Invalid dimension name <a b>"),
        ({"DimensionName": ":x"}, "Invalid dimension name <:x>"),
        ({"DimensionName": "x" * 257}, "Dimension name cannot exceed 256 characters."),
        ({"DimensionName": "Message-ID"}, "Invalid dimension name <Message-ID>: it is the name of a header"),
        ({"DimensionName": "cc"}, "Invalid dimension name <cc>: it is the name of a header"),
        ({"DimensionValueSource": "tag"}, "Invalid dimension value source <tag>"),
        ({"DefaultDimensionValue": "a b"}, "Invalid default dimension value <a b>"),
        ({"DefaultDimensionValue": ""}, "Invalid default dimension value <>"),
        ({"DefaultDimensionValue": "x" * 257}, "Default dimension value cannot exceed 256 characters."),
        ({"DefaultDimensionValue": None}, "A dimension needs DimensionName, "),
        ({"Unit": "x"}, "A dimension has no member Unit"),
    ],
)
def test_a_dimension_that_cannot_be_is_refused(changed: dict[str, Any], text: str) -> None:
    wrong = dimensions({**DIMENSION, **changed})
    assert [one[: len(text)] for one in mistakes(wrong)] == [text]
    assert abouts(wrong) == {"cloudwatch"}


def test_dimensions_may_have_colons_and_default_values_addresses() -> None:
    read_destination(
        dimensions({**DIMENSION, "DimensionName": "ses:source-ip", "DefaultDimensionValue": "a@b.example"})
    )


def test_there_is_at_least_one_dimension_and_none_twice() -> None:
    assert mistakes(dimensions()) == ["CloudWatch metrics dimension configuration list cannot be empty."]
    assert mistakes(shape(CloudWatchDestination={})) == [
        "CloudWatch metrics dimension configuration list cannot be empty."
    ]
    assert mistakes(dimensions(DIMENSION, DIMENSION)) == ["Dimension name <campaign> is there twice."]


def test_more_than_ten_dimensions_are_over_the_limit() -> None:
    ten = [{**DIMENSION, "DimensionName": f"d{number}"} for number in range(11)]
    read_destination(dimensions(*ten[:10]))
    assert abouts(dimensions(*ten)) == {"limit"}


def test_members_of_ours_are_for_the_file() -> None:
    own = shape(CloudWatchDestination={"DimensionConfigurations": [DIMENSION], "Namespace": "Mail"})
    assert read_destination(own, is_of_file=True).target["Namespace"] == "Mail"
    assert mistakes(own) == ["CloudWatchDestination has no member Namespace; allowed: DimensionConfigurations"]


@pytest.mark.parametrize("namespace", ["AWS/SES", "aws/ses", "", " ", "a|b", "x" * 256])
def test_a_namespace_that_cloudwatch_would_not_take_is_refused(namespace: str) -> None:
    wrong = shape(CloudWatchDestination={"DimensionConfigurations": [DIMENSION], "Namespace": namespace})
    assert len(mistakes(wrong, is_of_file=True)) == 1


@pytest.mark.parametrize(
    ("member", "changed", "text"),
    [
        ("EventBridgeDestination", {"Source": "aws.ses"}, "Source must not begin with aws."),
        ("WebhookDestination", {"Url": "ftp://hooks.example.com"}, "Url must be a URL that begins with https://"),
        ("WebhookDestination", {"Url": "https://"}, "Url must be a URL that begins with https://"),
        ("WebhookDestination", {"Url": "https://hooks.example.com:99999/"}, "Url must be a URL"),
        ("WebhookDestination", {"Secret": "too short"}, "Secret must be a text of 16 to 256 characters"),
        ("WebhookDestination", {"SecretFile": "/etc/secret"}, "WebhookDestination needs exactly one of Secret, "),
        ("WebhookDestination", {"Secret": None}, "WebhookDestination needs exactly one of Secret, "),
        ("WebhookDestination", {"BatchSize": 501}, "BatchSize must be a whole number from 1 to 500"),
        ("WebhookDestination", {"BatchSize": True}, "BatchSize must be a whole number from 1 to 500"),
        ("WebhookDestination", {"Format": "xml"}, "Format must be json or ndjson"),
        ("WebhookDestination", {"TimeoutSeconds": 0.5}, "TimeoutSeconds must be a number from 1 to 25"),
        ("CloudWatchDestination", {"Region": "Frankfurt"}, "Region must be a region"),
        ("WebhookDestination", {"BatchBytes": 10}, "BatchBytes must be a whole number from 10000 to "),
        (
            "RedisStreamDestination",
            {"Url": "redis://r", "UrlEnvironment": "REDIS"},
            "RedisStreamDestination needs at most one of Url, ",
        ),
        ("RedisStreamDestination", {"Key": "{ms}:due"}, "Key must not begin with {ms}:"),
        ("RedisStreamDestination", {"Url": "http://x"}, "Url must be a URL that begins with redis://"),
        ("FileDestination", {"Path": ""}, "Path must be a text"),
        ("LogDestination", {"Level": "info"}, "LogDestination has no member Level; allowed: none"),
    ],
)
def test_targets_of_our_kinds_are_checked(member: str, changed: dict[str, Any], text: str) -> None:
    target = {name: value for name, value in {**TARGETS[member], **changed}.items() if value is not None}
    found = mistakes(shape(**{member: target}), is_of_file=True)
    assert [one[: len(text)] for one in found] == [text]
    assert "too short" not in found[0]


def test_all_mistakes_are_told_at_once() -> None:
    wrong = {
        "Name": "",
        "Enabled": "yes",
        "MatchingEventTypes": ["bouce"],
        "SNSDestination": {"TopicARN": "x"},
        "Typ": 1,
    }
    assert len(mistakes(wrong)) == 5


def test_a_misspelt_member_is_told_what_it_may_have_been() -> None:
    assert mistakes(topic(MatchingEventType=["send"])) == [
        "EventDestination has no member MatchingEventType; did you mean MatchingEventTypes?"
    ]
