"""Configuration set, topic, subscription and queue of the simulator, wired with the unmodified AWS clients."""

import json

import orjson
import pytest
from botocore.exceptions import ClientError
from simulated_ses import simulated_ses

RAW = b"From: Ann <ann@example.com>\r\nTo: bob@example.com\r\nSubject: hi\r\n\r\nbody\r\n"
TYPES = ["send", "bounce", "complaint"]


@pytest.fixture
def ses():
    with simulated_ses(verified_identities=["example.com", "ann@example.net"]) as running:
        yield running


def allow(service, action, resource, source_arn):
    statement = {
        "Effect": "Allow",
        "Principal": {"Service": service},
        "Action": action,
        "Resource": resource,
        "Condition": {"ArnLike": {"aws:SourceArn": source_arn}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def wire(ses, *, has_topic_policy=True, has_queue_policy=True):
    """A set `own` with a destination, whose events come to a new queue; returns the queue's URL."""
    sns, sqs, api = ses.client("sns"), ses.client("sqs"), ses.client("ses")
    topic = sns.create_topic(Name="own-topic")["TopicArn"]
    queue = sqs.create_queue(QueueName="own-queue")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    if has_queue_policy:
        policy = allow("sns.amazonaws.com", "sqs:SendMessage", arn, topic)
        sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": policy})
    source = "arn:aws:ses:us-east-1:123456789012:configuration-set/*" if has_topic_policy else "elsewhere"
    policy = allow("ses.amazonaws.com", "sns:Publish", topic, source)
    sns.set_topic_attributes(TopicArn=topic, AttributeName="Policy", AttributeValue=policy)
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, ReturnSubscriptionArn=True)
    api.create_configuration_set(ConfigurationSet={"Name": "own"})
    api.create_configuration_set_event_destination(
        ConfigurationSetName="own",
        EventDestination={
            "Name": "events", "Enabled": True, "MatchingEventTypes": TYPES, "SNSDestination": {"TopicARN": topic},
        },
    )  # fmt: skip
    return queue


def send(ses, to, configuration_set="own"):
    ses.client("ses").send_raw_email(
        RawMessage={"Data": RAW}, Destinations=[to], ConfigurationSetName=configuration_set
    )


def types_in(ses, queue):
    """Event types that lie in a queue; the words of a validation as they are."""
    found = ses.client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
    texts = [orjson.loads(message["Body"])["Message"] for message in found]
    return [orjson.loads(text)["eventType"] if text.startswith("{") else text for text in texts]


def refused(code, call, **parameters):
    with pytest.raises(ClientError) as error:
        call(**parameters)
    assert error.value.response["Error"]["Code"] == code


def test_events_of_a_set_come_to_the_queue_of_its_topic_in_the_types_it_names(ses):
    queue = wire(ses)
    send(ses, "bounce@simulator.amazonses.com")
    send(ses, "bob@example.org")
    send(ses, "complaint@simulator.amazonses.com", configuration_set="another")
    assert types_in(ses, queue) == [
        "Successfully validated SNS topic for Amazon SES event publishing.", "Send", "Bounce", "Send",
    ]  # fmt: skip
    first = ses.client("sqs").get_queue_url(QueueName="ses-events")["QueueUrl"]
    assert types_in(ses, first) == ["Send", "Bounce", "Send", "Delivery", "Send", "Delivery", "Complaint"]


@pytest.mark.parametrize("missing", ["has_topic_policy", "has_queue_policy"])
def test_without_a_policy_nothing_comes(ses, missing):
    queue = wire(ses, **{missing: False})
    send(ses, "bounce@simulator.amazonses.com")
    assert "Send" not in types_in(ses, queue)


def test_events_of_the_time_before_take_the_old_way(ses):
    send(ses, "bob@example.org")
    queue = wire(ses)
    ses.client("ses").update_configuration_set_event_destination(
        ConfigurationSetName="own",
        EventDestination={
            "Name": "events",
            "Enabled": False,
            "MatchingEventTypes": TYPES,
            "SNSDestination": {"TopicARN": "arn:aws:sns:us-east-1:123456789012:own-topic"},
        },
    )
    send(ses, "bob@example.org")
    assert types_in(ses, queue) == ["Successfully validated SNS topic for Amazon SES event publishing."]


def test_what_was_wired_is_told(ses):
    queue = wire(ses)
    api, sns = ses.client("ses"), ses.client("sns")
    (told,) = api.describe_configuration_set(
        ConfigurationSetName="own", ConfigurationSetAttributeNames=["eventDestinations"]
    )["EventDestinations"]
    topic = told["SNSDestination"]["TopicARN"]
    assert (told["Name"], told["Enabled"], told["MatchingEventTypes"]) == ("events", True, TYPES)
    assert [one["Name"] for one in api.list_configuration_sets()["ConfigurationSets"]] == ["own"]
    (subscription,) = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert subscription["Endpoint"].endswith(queue.rpartition("/")[2])
    arn = subscription["SubscriptionArn"]
    sns.set_subscription_attributes(SubscriptionArn=arn, AttributeName="RawMessageDelivery", AttributeValue="true")
    assert sns.get_subscription_attributes(SubscriptionArn=arn)["Attributes"]["RawMessageDelivery"] == "true"
    assert json.loads(sns.get_topic_attributes(TopicArn=topic)["Attributes"]["Policy"])["Statement"]
    assert topic in [one["TopicArn"] for one in sns.list_topics()["Topics"]]


def test_a_batch_is_published_in_its_order_and_one_without_a_text_fails_by_itself(ses):
    queue, sns = wire(ses), ses.client("sns")
    topic = "arn:aws:sns:us-east-1:123456789012:own-topic"
    entries = [{"Id": str(number), "Message": f"text {number}", "Subject": "s"} for number in range(10)]
    entries[3]["Message"] = ""
    answer = sns.publish_batch(TopicArn=topic, PublishBatchRequestEntries=entries)
    assert [one["Id"] for one in answer["Successful"]] == [one["Id"] for one in entries if one["Message"]]
    assert len({one["MessageId"] for one in answer["Successful"]}) == 9
    (failed,) = answer["Failed"]
    assert (failed["Id"], failed["Code"], failed["SenderFault"]) == ("3", "InvalidParameter", True)
    assert types_in(ses, queue)[1:] == [one["Message"] for one in entries if one["Message"]]


@pytest.mark.parametrize(
    ("code", "entries"),
    [
        ("EmptyBatchRequest", []),
        ("TooManyEntriesInBatchRequest", [{"Id": str(number), "Message": "x"} for number in range(11)]),
        ("BatchEntryIdsNotDistinct", [{"Id": "1", "Message": "x"}, {"Id": "1", "Message": "y"}]),
        ("InvalidBatchEntryId", [{"Id": "a b", "Message": "x"}]),
        ("BatchRequestTooLong", [{"Id": str(number), "Message": "x" * 140_000} for number in range(2)]),
    ],
)
def test_a_batch_that_sns_would_refuse_is_refused_whole(ses, code, entries):
    sns = ses.client("sns")
    topic = sns.create_topic(Name="own-topic")["TopicArn"]
    refused(code, sns.publish_batch, TopicArn=topic, PublishBatchRequestEntries=entries)


def test_identities_and_the_account_are_told(ses):
    api = ses.client("ses")
    assert api.list_identities()["Identities"] == ["example.com", "ann@example.net"]
    assert api.list_identities(IdentityType="Domain")["Identities"] == ["example.com"]
    told = api.get_identity_verification_attributes(Identities=["example.com", "example.net", "ann@example.net"])
    assert {name: one["VerificationStatus"] for name, one in told["VerificationAttributes"].items()} == {
        "example.com": "Success", "ann@example.net": "Success",
    }  # fmt: skip
    assert ses.client("sts").get_caller_identity()["Account"] == "123456789012"


def test_what_is_not_there_or_cannot_be_is_refused_as_the_services_do(ses):
    api, sns = ses.client("ses"), ses.client("sns")
    refused("ConfigurationSetDoesNotExist", api.describe_configuration_set, ConfigurationSetName="none")
    refused("NotFound", sns.get_topic_attributes, TopicArn="arn:aws:sns:us-east-1:123456789012:none")
    wire(ses)
    refused("ConfigurationSetAlreadyExists", api.create_configuration_set, ConfigurationSet={"Name": "own"})
    refused(
        "EventDestinationDoesNotExist", api.delete_configuration_set_event_destination,
        ConfigurationSetName="own", EventDestinationName="none",
    )  # fmt: skip
    destination = {"Name": "x", "MatchingEventTypes": ["send"], "SNSDestination": {"TopicARN": "arn:aws:sns:r:1:none"}}
    refused(
        "InvalidSNSDestination", api.create_configuration_set_event_destination,
        ConfigurationSetName="own", EventDestination=destination,
    )  # fmt: skip
    api.delete_configuration_set_event_destination(ConfigurationSetName="own", EventDestinationName="events")
    api.delete_configuration_set(ConfigurationSetName="own")
    refused("ConfigurationSetDoesNotExist", api.delete_configuration_set, ConfigurationSetName="own")


CLOUD_WATCH = {
    "CloudWatchDestination": {
        "DimensionConfigurations": [
            {"DimensionName": "x", "DimensionValueSource": "messageTag", "DefaultDimensionValue": "n"}
        ]
    }
}
NO_STREAM = {"KinesisFirehoseDestination": {"IAMRoleARN": "", "DeliveryStreamARN": ""}}


def test_a_destination_has_one_kind_and_errors_have_the_members_of_the_model(ses):
    wire(ses)
    api = ses.client("ses")
    topic = {"SNSDestination": {"TopicARN": "arn:aws:sns:us-east-1:123456789012:own-topic"}}
    nowhere = {"SNSDestination": {"TopicARN": "arn:aws:sns:us-east-1:123456789012:none"}}
    for name, kinds, code, words in (
        ("new", {**topic, **CLOUD_WATCH}, "InvalidParameterValue", "Please provide only one destination"),
        ("new", {**topic, **NO_STREAM}, "InvalidParameterValue", "Please provide only one destination"),
        ("new", {**topic, "CloudWatchDestination": {"DimensionConfigurations": []}}, "InvalidParameterValue", "Please"),
        ("new", CLOUD_WATCH, "InvalidParameterValue", "The simulator publishes to SNS topics only and has no CloudW"),
        ("new", {}, "InvalidParameterValue", "Event destination is not provided."),
        ("new", nowhere, "InvalidSNSDestination", "SNS topic <arn:aws:sns:us-east-1:123456789012:none> not found."),
        ("events", topic, "EventDestinationAlreadyExists", "An event destination with name <events> already exists"),
    ):
        destination = {"Name": name, "MatchingEventTypes": ["send"], **kinds}
        with pytest.raises(ClientError) as caught:
            api.create_configuration_set_event_destination(ConfigurationSetName="own", EventDestination=destination)
        answer = caught.value.response
        assert (answer["Error"]["Code"], answer["Error"]["Message"][: len(words)]) == (code, words)
        if code != "InvalidParameterValue":
            assert (answer["ConfigurationSetName"], answer["EventDestinationName"]) == ("own", name)
    with pytest.raises(api.exceptions.EventDestinationDoesNotExistException) as gone:
        api.delete_configuration_set_event_destination(ConfigurationSetName="own", EventDestinationName="none")
    assert (gone.value.response["ConfigurationSetName"], gone.value.response["EventDestinationName"]) == ("own", "none")
    refused("InvalidConfigurationSet", api.create_configuration_set, ConfigurationSet={"Name": "a b"})
    told = api.describe_configuration_set(
        ConfigurationSetName="own", ConfigurationSetAttributeNames=["eventDestinations"]
    )
    assert [one["Name"] for one in told["EventDestinations"]] == ["events"]
