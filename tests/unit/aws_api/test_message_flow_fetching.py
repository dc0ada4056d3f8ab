"""Contents of updates, with an S3 client of our own making."""

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    IncompleteReadError,
    NoCredentialsError,
    ParamValidationError,
)

from aws_api.message_flow.fetching import Location, Memory, Updates
from aws_api.message_flow.s3_troubles import WORDS
from aws_api.wire.failures import OperationRefused
from config.aws_clients import open_s3_reader
from config.errors import TryLater
from config.settings import MIB

HERE = Location("bucket", "key")


class Body:
    def __init__(self, content: bytes, *, failure: Exception | None = None) -> None:
        self.content, self.failure, self.read_bytes, self.is_closed = content, failure, 0, False

    async def __aenter__(self) -> object:
        return object()

    async def __aexit__(self, *_: object) -> None:
        self.is_closed = True

    async def read(self, amount: int) -> bytes:
        if self.failure:
            raise self.failure
        piece = self.content[self.read_bytes : self.read_bytes + amount]
        self.read_bytes += len(piece)
        return piece


class S3:
    """Answers get_object with a body or an error."""

    def __init__(self, content: bytes = b"content", *, error: Exception | None = None, says: int | None = None) -> None:
        self.body, self.error, self.says = Body(content), error, len(content) if says is None else says
        self.asked: list[dict[str, Any]] = []
        self.opened = self.closed = 0

    async def get_object(self, **asked: Any) -> dict[str, Any]:
        self.asked.append(asked)
        if self.error:
            raise self.error
        self.body.read_bytes = 0
        return {"Body": self.body, "ContentLength": self.says}

    @asynccontextmanager
    async def open(self):
        self.opened += 1
        try:
            yield self
        finally:
            self.closed += 1


def updates(s3: S3, **options: Any) -> Updates:
    return Updates(s3.open, **{"max_bytes": MIB, "budget_bytes": 8 * MIB, **options})


async def fetch(s3: S3, location: Location = HERE, **options: Any) -> bytes:
    async with updates(s3, **options).fetched(location, beside_bytes=0) as content:
        return content


async def test_a_content_is_fetched_from_where_it_lies():
    s3 = S3(b"x" * 600_000)
    assert await fetch(s3, Location("bucket", "a/b", "v1")) == b"x" * 600_000
    assert s3.asked == [{"Bucket": "bucket", "Key": "a/b", "VersionId": "v1"}]
    assert s3.body.is_closed


async def test_nothing_is_read_of_a_content_that_is_too_large():
    s3 = S3(says=MIB + 1)
    with pytest.raises(OperationRefused, match="1048577 bytes, allowed are 1048576") as caught:
        await fetch(s3)
    assert caught.value.code == "InvalidContentLocation"
    assert s3.body.read_bytes == 0


@pytest.mark.parametrize("says", [6, 8, 0])
async def test_a_content_of_another_length_than_s3_said_is_none(says):
    with pytest.raises(TryLater, match="another number of bytes"):
        await fetch(S3(b"content", says=says))


def answered(code: str, status: int) -> ClientError:
    response: Any = {"Error": {"Code": code, "Message": "m"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(response, "GetObject")


@pytest.mark.parametrize("code", [*WORDS, "KMS.DisabledException"])
async def test_a_location_that_s3_refuses_is_invalid_in_words(code):
    with pytest.raises(OperationRefused) as caught:
        await fetch(S3(error=answered(code, 400)))
    assert caught.value.code == "InvalidContentLocation"
    assert WORDS.get(code, code) in caught.value.reason
    assert "s3://bucket/key" in caught.value.reason


@pytest.mark.parametrize(
    "error",
    [
        answered("InternalError", 500),
        answered("SlowDown", 503),
        answered("SlowDown", 429),
        answered("", 502),
        EndpointConnectionError(endpoint_url="http://s3"),
        ConnectTimeoutError(endpoint_url="http://s3"),
        ConnectionResetError("gone"),
    ],
    ids=repr,
)
async def test_an_s3_in_trouble_is_no_invalid_location(error):
    with pytest.raises(TryLater, match="S3 is away"):
        await fetch(S3(error=error))


async def test_an_answer_that_breaks_off_is_no_invalid_location():
    s3 = S3()
    s3.body.failure = IncompleteReadError(actual_bytes=1, expected_bytes=7)
    with pytest.raises(TryLater, match="S3 is away"):
        await fetch(s3)


async def test_an_s3_that_says_nothing_is_given_up_in_time():
    class Silent(S3):
        async def get_object(self, **asked: Any) -> dict[str, Any]:
            await asyncio.Event().wait()
            raise AssertionError

    with pytest.raises(TryLater, match="did not answer in time"):
        await fetch(Silent(), fetch_seconds=0.05)


async def test_without_credentials_the_location_cannot_be_read_and_later_ones_are_looked_for():
    s3 = S3(error=NoCredentialsError())
    some = updates(s3)
    for opened in (1, 2):
        with pytest.raises(OperationRefused, match="no AWS credentials"):
            async with some.fetched(HERE, beside_bytes=0):
                pass
        assert (s3.opened, s3.closed) == (opened, opened)


async def test_a_client_without_credentials_is_closed_by_the_last_who_uses_it_and_no_other_one_is():
    class Client(S3):
        """Has no credentials once it is told so, and answers nobody when it is closed."""

        def __init__(self, *, has_credentials: bool) -> None:
            super().__init__(error=None if has_credentials else NoCredentialsError())
            self.answers = asyncio.Event()

        async def get_object(self, **asked: Any) -> dict[str, Any]:
            await self.answers.wait()
            assert not self.closed
            return await super().get_object(**asked)

    bad, good, closing = Client(has_credentials=False), Client(has_credentials=True), asyncio.Event()
    clients = [bad, good]

    @asynccontextmanager
    async def open_s3():
        client = clients.pop(0)
        yield client
        await closing.wait()  # closing takes its time
        client.closed += 1

    some = Updates(open_s3, max_bytes=MIB, budget_bytes=8 * MIB)

    async def fetched() -> bytes:
        async with some.fetched(HERE, beside_bytes=0) as content:
            return content

    first = asyncio.create_task(fetched())
    await asyncio.sleep(0)
    bad.answers.set()
    for _ in range(10):
        await asyncio.sleep(0)
    second = asyncio.create_task(fetched())  # while the first one's client closes
    for _ in range(10):
        await asyncio.sleep(0)
    closing.set()
    with pytest.raises(OperationRefused, match="no AWS credentials"):
        await first
    good.answers.set()
    assert await second == await fetched() == b"content"
    assert (bad.closed, good.closed) == (1, 0)


async def test_a_client_that_others_still_use_is_not_closed_for_one_who_found_no_credentials():
    class Client(S3):
        """Has credentials for the second call only, which takes its time."""

        calls = 0

        async def get_object(self, **asked: Any) -> dict[str, Any]:
            self.calls += 1
            if self.calls == 1:
                await second_is_there.wait()
            else:
                second_is_there.set()
                await first_is_done.wait()
                assert not self.closed
                self.error = None
            return await super().get_object(**asked)

    s3, second_is_there, first_is_done = Client(error=NoCredentialsError()), asyncio.Event(), asyncio.Event()
    some = updates(s3)

    async def fetched() -> bytes:
        async with some.fetched(HERE, beside_bytes=0) as content:
            return content

    first, second = asyncio.create_task(fetched()), asyncio.create_task(fetched())
    with pytest.raises(OperationRefused, match="no AWS credentials"):
        await first
    assert s3.closed == 0
    first_is_done.set()
    assert await second == b"content"
    assert (s3.opened, s3.closed) == (1, 1)


@pytest.mark.parametrize("error", [KeyError("ContentLength"), ValueError("garbage")], ids=repr)
async def test_an_answer_of_s3_that_makes_no_sense_is_no_fault_of_ours(error):
    with pytest.raises(TryLater, match="S3 is away: its answer cannot be read"):
        await fetch(S3(error=error))


ODD_ANSWERS = {
    "no length": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "a date that is none": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nLast-Modified: garbage\r\n\r\nhello",
    "an endless error": b"HTTP/1.1 403 Forbidden\r\nContent-Length: 3000000000\r\n\r\n",
}


@pytest.mark.parametrize("answer", ODD_ANSWERS.values(), ids=ODD_ANSWERS)
async def test_an_s3_that_answers_oddly_is_away_and_little_of_its_answer_is_read(monkeypatch, answer):
    sent_bytes = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent_bytes
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        with suppress(ConnectionError):
            while b"3000000000" in answer and sent_bytes < 64 * MIB:
                writer.write(b"x" * 65_536)
                await writer.drain()
                sent_bytes += 65_536
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", f"http://127.0.0.1:{port}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        some = Updates(lambda: open_s3_reader("eu-west-1"), max_bytes=MIB, budget_bytes=8 * MIB, fetch_seconds=60)
        with pytest.raises(TryLater, match="S3 is away"):
            async with some.fetched(HERE, beside_bytes=0):
                pass
        await some.close()
    assert sent_bytes < 48 * MIB, "two tries, and what the sockets hold"


async def test_a_name_that_the_client_does_not_take_is_invalid():
    with pytest.raises(OperationRefused) as caught:
        await fetch(S3(error=ParamValidationError(report="x")))
    assert caught.value.code == "InvalidContentLocation"


@pytest.mark.parametrize("bucket", ["a/b", "arn:aws:s3:::x", "x y", "ab", "b" * 64, "host:80", "bücket"])
async def test_s3_is_not_asked_for_what_is_no_bucket(bucket):
    s3 = S3()
    with pytest.raises(OperationRefused, match="no name of a bucket"):
        await fetch(s3, Location(bucket, "key"))
    assert not s3.asked


async def test_one_client_serves_all_fetches():
    s3 = S3()
    some = updates(s3)
    for _ in range(3):
        async with some.fetched(HERE, beside_bytes=0):
            pass
    assert s3.opened == 1
    await some.close()
    assert s3.closed == 1


async def test_contents_that_do_not_fit_together_wait_for_each_other(time_flies):
    some = updates(S3(b"x" * MIB), budget_bytes=6 * MIB, fetch_seconds=60.0)
    async with some.fetched(HERE, beside_bytes=0), some.fetched(HERE, beside_bytes=0), time_flies():
        with pytest.raises(TryLater, match="did not answer in time"):
            async with some.fetched(HERE, beside_bytes=0):
                pass
    async with some.fetched(HERE, beside_bytes=100 * MIB) as content:
        assert len(content) == MIB


async def test_contents_with_lines_to_convert_keep_the_memory_for_their_copies(time_flies):
    some = updates(S3(b"x" * (MIB - 1) + b"\n"), budget_bytes=6 * MIB, fetch_seconds=60.0)
    async with some.fetched(HERE, beside_bytes=0), time_flies():
        with pytest.raises(TryLater, match="did not answer in time"):
            async with some.fetched(HERE, beside_bytes=0):
                pass


async def test_memory_is_taken_for_what_an_update_is_compared_with(time_flies):
    some = updates(S3(b"tiny"), budget_bytes=6 * MIB, fetch_seconds=60.0)
    async with some.fetched(HERE, beside_bytes=2 * MIB), time_flies():
        with pytest.raises(TryLater, match="did not answer in time"):
            async with some.fetched(HERE, beside_bytes=2 * MIB):
                pass


async def test_memory_is_given_in_the_order_of_asking_and_none_is_lost_by_who_gives_up():
    memory, order = Memory(4 * MIB), []

    async def use(name: str, wanted: int) -> None:
        async with memory.held(wanted):
            order.append(name)

    async with memory.held(2 * MIB):
        tasks = [asyncio.create_task(use("large", 4 * MIB)), asyncio.create_task(use("small", MIB))]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        impatient = asyncio.create_task(use("impatient", MIB))
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.gather(impatient, return_exceptions=True)
        assert order == []
    await asyncio.gather(*tasks)
    assert order == ["large", "small"]
    async with asyncio.timeout(60), memory.held(4 * MIB):
        order.append("all of it")


@pytest.mark.parametrize(
    ("endpoint", "style"), [("", "auto"), ("http://127.0.0.1:2581/s3", "path")], ids=["aws", "own endpoint"]
)
async def test_the_bucket_is_in_the_path_of_an_endpoint_of_ones_own(monkeypatch, endpoint, style):
    if endpoint:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    async with open_s3_reader("eu-west-1") as s3:
        config: Any = s3.meta.config
        assert config.s3["addressing_style"] == style
        assert config.retries["total_max_attempts"] == 2


async def test_an_environment_that_cannot_be_used_is_told_and_stops_nothing_else(monkeypatch):
    monkeypatch.setenv("AWS_PROFILE", "missing")
    some = Updates(open_s3_reader, max_bytes=MIB, budget_bytes=MIB)
    with pytest.raises(OperationRefused, match="ProfileNotFound"):
        async with some.fetched(HERE, beside_bytes=0):
            pass
