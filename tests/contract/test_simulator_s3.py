"""The simulator's small S3, driven by unmodified clients that know nothing but AWS_ENDPOINT_URL_S3."""

import asyncio
import base64
import http.client
import io
import resource
import zlib

import aioboto3
import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.contract.simulated_ses import simulated_ses


@pytest.fixture
def ses(monkeypatch, tmp_path):
    with simulated_ses(data_dir=tmp_path / "data") as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"{running.url}/s3")
        yield running


@pytest.fixture
def s3(ses):
    client = boto3.client("s3", config=Config(retries={"total_max_attempts": 1}))
    yield client
    client.close()


def code_of(call, **arguments):
    with pytest.raises(ClientError) as refused:
        call(**arguments)
    return refused.value.response["Error"]["Code"], refused.value.response["ResponseMetadata"]["HTTPStatusCode"]


def test_what_is_put_is_got_and_the_bucket_is_made_by_the_way(s3):
    put = s3.put_object(Bucket="My-Bucket.1", Key="a b/ü+%41?#.eml", Body=b"Subject: x\n\n\xff", Metadata={"who": "me"})
    got = s3.get_object(Bucket="My-Bucket.1", Key="a b/ü+%41?#.eml")
    assert got["Body"].read() == b"Subject: x\n\n\xff"
    assert got["VersionId"] == put["VersionId"]
    assert got["ETag"] == put["ETag"]
    assert got["Metadata"] == {"who": "me"}
    assert got["ContentLength"] == 13
    assert [one["Name"] for one in s3.list_buckets()["Buckets"]] == ["My-Bucket.1"]


def test_every_version_can_be_got_until_it_is_deleted(s3):
    s3.create_bucket(Bucket="mail")
    first = s3.put_object(Bucket="mail", Key="k", Body=b"one")["VersionId"]
    second = s3.put_object(Bucket="mail", Key="k", Body=b"two")["VersionId"]
    assert s3.get_object(Bucket="mail", Key="k", VersionId=first)["Body"].read() == b"one"
    assert s3.get_object(Bucket="mail", Key="k")["Body"].read() == b"two"
    s3.delete_object(Bucket="mail", Key="k", VersionId=second)
    assert s3.get_object(Bucket="mail", Key="k")["Body"].read() == b"one"
    assert code_of(s3.get_object, Bucket="mail", Key="k", VersionId=second) == ("NoSuchVersion", 404)
    s3.delete_object(Bucket="mail", Key="k")
    assert code_of(s3.get_object, Bucket="mail", Key="k") == ("NoSuchKey", 404)


def test_a_part_and_the_head_of_an_object(s3):
    s3.put_object(Bucket="mail", Key="k", Body=b"0123456789", ContentType="message/rfc822")
    part = s3.get_object(Bucket="mail", Key="k", Range="bytes=2-4")
    assert (part["Body"].read(), part["ContentRange"]) == (b"234", "bytes 2-4/10")
    assert s3.get_object(Bucket="mail", Key="k", Range="bytes=-3")["Body"].read() == b"789"
    assert s3.get_object(Bucket="mail", Key="k", Range="bytes=8-")["Body"].read() == b"89"
    assert code_of(s3.get_object, Bucket="mail", Key="k", Range="bytes=10-")[0] == "InvalidRange"
    head = s3.head_object(Bucket="mail", Key="k")
    assert (head["ContentLength"], head["ContentType"]) == (10, "message/rfc822")


def test_an_empty_object_and_a_large_stream(s3):
    s3.put_object(Bucket="mail", Key="empty", Body=b"")
    assert s3.get_object(Bucket="mail", Key="empty")["Body"].read() == b""
    large = bytes(range(256)) * 40_000
    s3.put_object(Bucket="mail", Key="large", Body=io.BytesIO(large))
    assert s3.get_object(Bucket="mail", Key="large")["Body"].read() == large
    s3.upload_fileobj(io.BytesIO(large[:1_000_000]), "mail", "uploaded")
    assert s3.get_object(Bucket="mail", Key="uploaded")["Body"].read() == large[:1_000_000]


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_checksums_that_boto3_sends_are_compared_and_given_back(s3, algorithm):
    s3.put_object(Bucket="mail", Key="k", Body=b"hello", ChecksumAlgorithm=algorithm)
    got = s3.get_object(Bucket="mail", Key="k", ChecksumMode="ENABLED")
    assert got[f"Checksum{algorithm}"]
    assert got["Body"].read() == b"hello"
    wrong = {f"Checksum{algorithm}": base64.b64encode(b"\0" * 4).decode()}
    assert code_of(s3.put_object, Bucket="mail", Key="k", Body=b"hello", **wrong) == ("BadDigest", 400)


def test_errors_are_those_of_s3(s3):
    assert code_of(s3.get_object, Bucket="nobody", Key="k") == ("NoSuchBucket", 404)
    assert code_of(s3.head_bucket, Bucket="nobody") == ("404", 404)
    s3.create_bucket(Bucket="mail")
    s3.head_bucket(Bucket="mail")
    assert code_of(s3.get_object, Bucket="mail", Key="k<&>") == ("NoSuchKey", 404)
    assert code_of(s3.head_object, Bucket="mail", Key="k") == ("404", 404)
    assert code_of(s3.create_multipart_upload, Bucket="mail", Key="k") == ("NotImplemented", 501)
    assert code_of(s3.list_objects_v2, Bucket="mail") == ("NotImplemented", 501)
    assert code_of(s3.put_object, Bucket="mail", Key="k", Body=b"", IfNoneMatch="*") == ("NotImplemented", 501)
    assert code_of(s3.put_object, Bucket="mail", Key="k" * 1025, Body=b"") == ("KeyTooLongError", 400)


async def test_aioboto3_puts_and_gets(ses):
    async with aioboto3.Session().client("s3") as client:
        await client.put_object(Bucket="mail", Key="k", Body=b"hello")
        got = await client.get_object(Bucket="mail", Key="k")
        assert await got["Body"].read() == b"hello"


# -- the framing that SDKs use over TLS, and the JavaScript SDK everywhere

FRAMED = {
    "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "Content-Encoding": "aws-chunked",
    "x-amz-trailer": "x-amz-checksum-crc32",
}


def framed(*chunks, crc=None, extension=""):
    crc = crc or base64.b64encode(zlib.crc32(b"".join(chunks)).to_bytes(4, "big")).decode()
    frames = b"".join(f"{len(chunk):x}{extension}\r\n".encode() + chunk + b"\r\n" for chunk in chunks)
    return frames + f"0{extension}\r\nx-amz-checksum-crc32:{crc}\r\n\r\n".encode()


def test_a_framed_body_with_a_trailing_checksum_is_unpacked(ses, s3):
    for extension in ("", ";chunk-signature=0123"):
        body = framed(b"hello ", b"world\r\n0\r\n", extension=extension)
        headers = {**FRAMED, "x-amz-decoded-content-length": "16"}
        status, answered, _ = ses.request("PUT", "/s3/mail/k", body, headers)
        assert status == 200
        assert answered["x-amz-checksum-crc32"]
        got = s3.get_object(Bucket="mail", Key="k")
        assert got["Body"].read() == b"hello world\r\n0\r\n"
        assert "ContentEncoding" not in got


def test_framing_inside_the_chunks_of_http_is_unpacked_too(ses, s3):
    """A stream of the JavaScript SDK: its length is known, that of its frames is not."""
    body = framed(b"hello ", b"world")
    pieces = (body[start : start + 7] for start in range(0, len(body), 7))
    headers = {**FRAMED, "x-amz-decoded-content-length": "11", "Transfer-Encoding": "chunked"}
    connection = http.client.HTTPConnection(*ses.url.removeprefix("http://").split(":"), timeout=20)
    connection.request("PUT", "/s3/mail/k?x-id=PutObject", pieces, headers, encode_chunked=True)
    assert connection.getresponse().status == 200
    connection.close()
    assert s3.get_object(Bucket="mail", Key="k")["Body"].read() == b"hello world"


def test_a_full_disk_is_an_error_of_s3_and_nothing_is_kept(s3):
    s3.create_bucket(Bucket="mail")
    former = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, former[1]))  # a write takes a part, the next one fails
    try:
        refused = code_of(s3.put_object, Bucket="mail", Key="k", Body=b"x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, former)
    assert refused == ("InternalError", 500)
    assert code_of(s3.get_object, Bucket="mail", Key="k")[0] == "NoSuchKey"


def test_a_presigned_url_is_a_way_to_get_it(ses, s3):
    s3.put_object(Bucket="mail", Key="k", Body=b"hello")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": "mail", "Key": "k"})
    assert ses.request("GET", url.removeprefix(ses.url))[2] == b"hello"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (framed(b"hello", crc="AAAAAA=="), b"BadDigest"),
        (framed(b"hell"), b"IncompleteBody"),
        (framed(b"hello!"), b"IncompleteBody"),
        (b"5\r\nhello", b"IncompleteBody"),
        (b"5\r\nhelloXX\r\n0\r\n\r\n", b"IncompleteBody"),
        (b"zz\r\nhello\r\n", b"IncompleteBody"),
        *(
            (size + b"\r\nhello\r\n0\r\n\r\n", b"IncompleteBody")
            for size in (b"-1", b"-5", b"+5", b" 5", b"0x5", b"0_5")
        ),
        (b"5".rjust(17, b"0") + b"\r\nhello\r\n0\r\n\r\n", b"IncompleteBody"),
        (b"1" * 9000 + b"\r\n", b"InvalidArgument"),
        (b"5\r\nhello\r\n0\r\n" + b"a: b\r\n" * 50, b"InvalidArgument"),
    ],
)
def test_a_framed_body_that_is_not_whole_is_refused_and_nothing_is_kept(ses, s3, body, code):
    status, _, answer = ses.request("PUT", "/s3/mail/k", body, {**FRAMED, "x-amz-decoded-content-length": "5"})
    assert status == 400
    assert b"<Code>" + code + b"</Code>" in answer
    assert code_of(s3.get_object, Bucket="mail", Key="k") == ("NoSuchKey", 404)


def test_a_put_without_a_length_or_too_large_is_refused(ses):
    assert ses.request("PUT", "/s3/mail/k", iter([b"x"]), {})[0] == 411
    status, _, answer = ses.request("PUT", "/s3/mail/k", b"", {"Content-Length": str(65 * 1024 * 1024)})
    assert (status, b"EntityTooLarge" in answer) == (400, True)
    assert ses.request("PUT", "/s3/mail/k", b"", {**FRAMED, "x-amz-decoded-content-length": "-1"})[0] == 400


def test_paths_of_clients_never_become_paths_of_files(ses, s3, tmp_path):
    s3.put_object(Bucket="mail", Key="../../../outside", Body=b"x")
    assert s3.get_object(Bucket="mail", Key="../../../outside")["Body"].read() == b"x"
    assert ses.request("GET", "/s3/../etc/passwd")[0] in {400, 404}
    assert ses.request("GET", "/s3/%2e%2e/x")[0] == 400
    assert list(tmp_path.rglob("*")) == [tmp_path / "data"]


def test_several_puts_at_once_do_not_mix(ses):
    async def put_and_get(client, number):
        body = bytes([number]) * 300_000
        await client.put_object(Bucket="mail", Key=str(number), Body=body)
        got = await client.get_object(Bucket="mail", Key=str(number))
        return await got["Body"].read() == body

    async def all_at_once():
        async with aioboto3.Session().client("s3") as client:
            return await asyncio.gather(*(put_and_get(client, number) for number in range(10)))

    assert all(asyncio.run(all_at_once()))
