"""PutRawMessageContent: boto3 against the real API process, contents in a real-enough S3."""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from tests.contract.message_flow_stand import (
    BUCKET,
    ORIGINAL,
    UPDATED,
    MessageFlowStand,
    client_of,
    message_flow_stand,
)

MIB = 1024 * 1024
UNKNOWN = "000001a1fdffd45d-054c29f4-fcec-4f0b-b708-a1307689d0e5-000000"


@pytest.fixture(scope="module")
def stand(tmp_path_factory) -> Iterator[MessageFlowStand]:
    with message_flow_stand(tmp_path_factory.mktemp("flow"), smtp_max_message_bytes=4 * MIB) as one:
        yield one


def test_an_update_while_the_function_runs_counts_and_is_read(stand):
    message_id, reference = stand.message(), stand.in_bucket(UPDATED)
    assert stand.during_a_run(message_id, lambda: stand.put(message_id, reference)) == UPDATED
    assert stand.get(message_id) == UPDATED


def test_an_update_after_the_function_is_read_and_does_not_count(stand):
    message_id, reference = stand.message(), stand.in_bucket(UPDATED)
    assert stand.during_a_run(message_id, lambda: None) is None
    answer = stand.put(message_id, reference)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert stand.get(message_id) == UPDATED


def test_line_ends_of_updates_become_crlf(stand):
    message_id, reference = stand.message(), stand.in_bucket(UPDATED.replace(b"\r\n", b"\n"))
    stand.put(message_id, reference)
    assert stand.get(message_id) == UPDATED


def test_two_updates_at_once_leave_one_of_them_whole(stand):
    message_id = stand.message()
    contents = [UPDATED + bytes([65 + number]) * 70 + b"\r\n" for number in range(6)]
    references = [stand.in_bucket(content, f"u{number}") for number, content in enumerate(contents)]
    client = stand.client()  # one for all: to make one takes long, and meanwhile our S3 would not answer in time
    with ThreadPoolExecutor(6) as putters:
        list(putters.map(lambda reference: stand.put(message_id, reference, client), references))
    assert stand.get(message_id) in contents


def test_a_version_of_the_object_is_the_one_that_counts(stand):
    stand.s3.create_bucket(Bucket="versioned")
    stand.s3.put_bucket_versioning(Bucket="versioned", VersioningConfiguration={"Status": "Enabled"})
    first = stand.s3.put_object(Bucket="versioned", Key="k", Body=UPDATED)["VersionId"]
    stand.s3.put_object(Bucket="versioned", Key="k", Body=b"something else")
    message_id = stand.message()
    stand.put(message_id, {"bucket": "versioned", "key": "k", "objectVersion": first})
    assert stand.get(message_id) == UPDATED


def test_names_that_only_s3_takes_are_taken(stand):
    message_id = stand.message()
    stand.s3.put_object(Bucket=BUCKET, Key="mails/2026 Nov/a+b_é.eml", Body=UPDATED)
    stand.put(message_id, {"bucket": BUCKET, "key": "mails/2026 Nov/a+b_é.eml"})
    assert stand.get(message_id) == UPDATED


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ({"bucket": BUCKET, "key": "missing"}, "no such key"),
        ({"bucket": "no-such-bucket", "key": "k"}, "no such bucket"),
        ({"bucket": BUCKET, "key": "update", "objectVersion": "nope"}, "version"),
        ({"bucket": "My-S3-Bucket", "key": "My-S3-Object-Key"}, "s3://My-S3-Bucket/My-S3-Object-Key"),
        ({"bucket": "b" * 64, "key": "k"}, "length less than or equal to 63"),
        ({"bucket": "arn:aws:s3:us-west-2:123456789012:accesspoint/x", "key": "k"}, "no name of a bucket"),
        ({"bucket": "a/../b", "key": "k"}, "no name of a bucket"),
        ({"bucket": BUCKET, "key": "k" * 1025}, "length less than or equal to 1024"),
    ],
)
def test_a_location_that_cannot_be_read_is_an_invalid_one_in_words(stand, reference, words):
    stand.in_bucket(UPDATED)
    message_id, client = stand.message(), stand.client()
    with pytest.raises(client.exceptions.InvalidContentLocation) as caught:
        stand.put(message_id, reference, client)
    assert words in caught.value.response["Error"]["Message"]
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert stand.get(message_id) == ORIGINAL


def test_a_content_beyond_the_limit_is_not_fetched(stand):
    message_id, client = stand.message(), stand.client()
    reference = stand.in_bucket(ORIGINAL + b"z" * (4 * MIB), "large")
    with pytest.raises(client.exceptions.InvalidContentLocation) as caught:
        stand.put(message_id, reference, client)
    assert "too large" in caught.value.response["Error"]["Message"]


def test_a_content_with_an_error_is_rejected_in_words(stand):
    message_id, client = stand.message(), stand.client()
    reference = stand.in_bucket(UPDATED.replace(b"From: ann@", b"From: eve@"), "forged")
    with pytest.raises(client.exceptions.MessageRejected) as caught:
        stand.put(message_id, reference, client)
    assert "From" in caught.value.response["Error"]["Message"]
    assert stand.get(message_id) == ORIGINAL


def test_a_bounce_is_frozen(stand):
    message_id, client, reference = stand.message(door="bounce"), stand.client(), stand.in_bucket(UPDATED)
    with pytest.raises(client.exceptions.MessageFrozen) as caught:
        stand.put(message_id, reference, client)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400


@pytest.mark.parametrize("message_id", [UNKNOWN, "x/../y", "UPPER"])
def test_an_unknown_message_is_not_found(stand, message_id):
    client, reference = stand.client(), stand.in_bucket(UPDATED)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        stand.put(message_id, reference, client)


def test_updates_of_a_few_bytes_do_not_load_the_large_messages_that_they_are_compared_with_all_at_once(tmp_path):
    with message_flow_stand(
        tmp_path, smtp_max_message_bytes=16 * MIB, smtp_memory_budget_bytes=40 * MIB, api_trust_loopback=True
    ) as stand:
        message_id = stand.message(ORIGINAL + (b"x" * 76 + b"\r\n") * (15 * MIB // 78))
        reference, client = stand.in_bucket(UPDATED), stand.client(attempts=1)

        def put(_: int) -> None:
            with contextlib.suppress(ClientError):  # who waited for memory for too long is told to come back
                stand.put(message_id, reference, client)

        def puts() -> None:
            put(0)  # the latest content is small from here on
            before = stand.memory_bytes("VmHWM")
            with ThreadPoolExecutor(24) as putters:
                list(putters.map(put, range(24)))
            assert stand.memory_bytes("VmHWM") - before < 120 * MIB

        assert stand.during_a_run(message_id, puts) == UPDATED


def test_strict_names_are_those_of_the_model(tmp_path):
    with message_flow_stand(tmp_path, message_flow_strict_s3_names=True) as strict:
        message_id, client = strict.message(), strict.client()
        reference = strict.in_bucket(UPDATED, "a.eml")
        with pytest.raises(client.exceptions.InvalidContentLocation) as caught:
            strict.put(message_id, reference, client)
        assert "regular expression pattern" in caught.value.response["Error"]["Message"]
        strict.put(message_id, strict.in_bucket(UPDATED, "mails/a-eml"), client)
        assert strict.get(message_id) == UPDATED


def test_an_s3_that_is_away_is_a_503_that_clients_repeat(tmp_path):
    with message_flow_stand(tmp_path, has_s3=False) as alone:
        message_id = alone.message()
        with pytest.raises(ClientError) as caught:
            alone.put(message_id, {"bucket": BUCKET, "key": "k"}, alone.client(attempts=1))
        assert caught.value.response["Error"]["Code"] == "ServiceUnavailableException"
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
        assert alone.get(message_id) == ORIGINAL


def test_the_answer_to_a_call_of_another_kind_of_body_says_what_is_wrong(stand):
    import json
    import urllib.error
    import urllib.request

    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    message_id = stand.message()
    for body, code in [
        (b"", "ValidationException"),
        (b"{}", "ValidationException"),
        (b"[", "SerializationException"),
        (b"[]", "SerializationException"),
        (b'{"content": {"s3Reference": []}}', "SerializationException"),
        (b'{"content": {"s3Reference": {"bucket": "abc"}}}', "InvalidContentLocation"),
        (b'{"content": {"s3Reference": {"bucket": "abc", "key": 7}}}', "SerializationException"),
        (b'{"content": {"s3Reference": {"bucket": "ab", "key": "k"}}}', "InvalidContentLocation"),
        (b"[" * 60_000, "SerializationException"),
        (b" " * 70_000, "RequestEntityTooLargeException"),
    ]:
        signed = AWSRequest("POST", f"{stand.url}/messages/{message_id}", data=body)
        SigV4Auth(Credentials(stand.key.access_key_id, stand.key.secret), "workmailmessageflow", "eu-west-1").add_auth(
            signed
        )
        request = urllib.request.Request(signed.url, body, dict(signed.headers), method="POST")
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request)
        with caught.value as answer:
            assert answer.headers["x-amzn-ErrorType"] == code, body[:50]
            assert answer.headers["x-amzn-RequestId"]
            assert json.load(answer)["message"]


def test_other_services_are_refused_by_the_name_of_their_operation(stand):
    for service, call, code, words in [
        ("sesv2", lambda client: client.list_contact_lists(), "UnknownOperationException", "ListContactLists"),
        ("ses", lambda client: client.list_identities(), "InvalidAction", "ListIdentities"),
        ("mailmanager", lambda client: client.list_archives(), "UnknownOperationException", "ListArchives"),
    ]:
        with pytest.raises(ClientError) as caught:
            call(client_of(service, stand.url, stand.key.access_key_id, stand.key.secret))
        assert caught.value.response["Error"]["Code"] == code
        assert words in caught.value.response["Error"]["Message"]
        assert caught.value.response["ResponseMetadata"]["RequestId"]
