"""Functions of AWS Lambda and of servers like it, asked over a real socket."""

import asyncio
from contextlib import asynccontextmanager
from urllib.parse import quote

import orjson
import pytest
from invoke_server import ANSWER, HANG, RESET, invoke_server

from config.settings import Settings
from tests.servers import free_port
from worker.functions.aws_lambda import WORDS
from worker.functions.calling import Functions
from worker.functions.failures import InvocationFailed
from worker.functions.raw_answer import MAX_ANSWER_BYTES
from worker.rules.records import Function

ARN = "arn:aws:lambda:eu-west-1:123456789012:function:disclaimer:prod"
EVENT = b'{"summaryVersion": "2018-10-10"}'


class FakeLocal:
    """Stands in for the processes of this machine."""

    def __init__(self, answer=ANSWER):
        self.answer = answer
        self.asked = []
        self.is_closed = False

    async def invoke(self, function, *, rule, payload, invocation_id, seconds):
        self.asked.append((function.target, rule, payload, invocation_id, seconds))
        return self.answer

    async def close(self):
        self.is_closed = True


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch, tmp_path):
    """No AWS environment but this one."""
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")


@asynccontextmanager
async def functions_and_server(monkeypatch, local=None):
    async with invoke_server() as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", server.url)
        functions = Functions(Settings(), local or FakeLocal())
        try:
            yield functions, server
        finally:
            await functions.close()


@pytest.fixture(params=["lambda", "http"])
async def asked(request, monkeypatch):
    """Both ways over the same wire: (ask, server)."""
    async with functions_and_server(monkeypatch) as (functions, server):
        target = (
            "disclaimer" if request.param == "lambda" else f"{server.url}/2015-03-31/functions/disclaimer/invocations"
        )

        def ask(**limits):
            return invoke(functions, target, **limits)

        yield ask, server


async def invoke(functions, target, **limits):
    return await functions.invoke(Function(target, **limits), rule="a rule", payload=EVENT, invocation_id="0" * 32)


async def failure(call):
    with pytest.raises(InvocationFailed) as failed:
        await call
    assert failed.value.reason.isprintable()
    assert len(failed.value.reason) < 500
    return failed.value.reason


# -- both ways


async def test_the_event_is_posted_and_the_answer_comes_back(asked):
    ask, server = asked
    assert await ask() == ANSWER
    (request,) = server.requests
    assert (request.method, request.path) == ("POST", "/2015-03-31/functions/disclaimer/invocations")
    assert request.headers["x-amz-invocation-type"] == "RequestResponse"
    assert request.body == EVENT


async def test_an_asynchronous_function_gets_an_event_and_its_answer_is_nothing(asked):
    ask, server = asked
    server.says("202 Accepted")
    assert await ask(mode="async") == b""
    assert server.requests[0].headers["x-amz-invocation-type"] == "Event"


async def test_an_error_inside_the_function_is_a_failed_invocation(asked):
    ask, server = asked
    error = {"errorMessage": "name 'x' is\nnot defined", "errorType": "NameError", "stackTrace": ["secret"]}
    server.says("200 OK", orjson.dumps(error), X_Amz_Function_Error="Unhandled")
    assert await failure(ask()) == "the function failed: NameError: name 'x' is not defined"


@pytest.mark.parametrize("body", [b"", b"no JSON", b"null", b"[]", b'{"errorMessage": 7}'])
async def test_an_error_without_words_is_a_failed_invocation_too(asked, body):
    ask, server = asked
    server.says("200 OK", body, X_Amz_Function_Error="Unhandled")
    assert await failure(ask()) == "the function failed"


async def test_words_of_an_error_are_bounded(asked):
    ask, server = asked
    server.says("200 OK", orjson.dumps({"errorMessage": "x" * 100_000}), X_Amz_Function_Error="Unhandled")
    assert (await failure(ask())).endswith("xxx…")


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        ("429 Too Many Requests", "TooManyRequestsException", "throttles"),
        ("403 Forbidden", "AccessDeniedException", "may not run the function"),
        ("404 Not Found", "ResourceNotFoundException", "there is no such function"),
        ("413 Too Large", "RequestTooLargeException", "the event is too large"),
        ("500 Server Error", "ServiceException", "failed"),
        ("502 Bad Gateway", "KMSDisabledException", "KMSDisabledException|the server failed"),
        ("400 Bad Request", "InvalidRequestContentException", "did not"),
    ],
)
async def test_a_refused_call_says_why_and_is_not_repeated(asked, status, code, words):
    ask, server = asked
    server.says(status, b'{"Message": "Rate\\nexceeded", "Type": "User"}', X_Amzn_ErrorType=code)
    reason = await failure(ask())
    assert any(word in reason for word in words.split("|")), reason
    assert "Rate exceeded" in reason
    assert len(server.requests) == 1


async def given_up(call, server, monkeypatch):
    """The failure of a call whose 60 seconds end when its request is there, however long it was on its way."""
    failing = asyncio.create_task(failure(call))
    while not (server.requests or failing.done()):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)  # the beginning of an answer may come
    loop = asyncio.get_running_loop()
    now = loop.time
    with monkeypatch.context() as patch:
        patch.setattr(loop, "time", lambda: now() + 61)
        return await failing


async def test_a_call_without_an_answer_is_not_repeated(asked, monkeypatch):
    ask, server = asked
    server.body = HANG
    assert await given_up(ask(timeout_seconds=60), server, monkeypatch) == "no answer within 60 s"
    assert len(server.requests) == 1


async def test_a_call_whose_connection_breaks_is_not_repeated(asked):
    ask, server = asked
    server.body = RESET
    assert "ended without an answer" in await failure(ask())
    assert len(server.requests) == 1


async def test_an_answer_that_does_not_end_in_time_is_given_up(asked, monkeypatch):
    ask, server = asked
    server.says("200 OK", b"{", Content_Length="100")
    assert await given_up(ask(timeout_seconds=60), server, monkeypatch) == "no answer within 60 s"


async def test_an_endless_answer_is_not_read_beyond_its_limit(asked):
    ask, server = asked
    server.says("200 OK")
    server.is_endless = True
    assert await failure(ask()) == "the answer is larger than 256 KB"
    async with asyncio.timeout(20):
        while (sent := server.pieces_sent) != await later(lambda: server.pieces_sent):
            pass
    assert sent < 200  # what buffers of the network hold


async def later(look):
    await asyncio.sleep(0.05)
    return look()


async def test_an_answer_of_256_kb_is_taken_and_one_byte_more_is_not(asked):
    ask, server = asked
    server.says("200 OK", b"x" * MAX_ANSWER_BYTES)
    assert len(await ask()) == MAX_ANSWER_BYTES
    server.says("200 OK", b"x" * (MAX_ANSWER_BYTES + 1))
    assert await failure(ask()) == "the answer is larger than 256 KB"
    server.says("200 OK", ANSWER)
    assert await ask() == ANSWER


async def test_an_answer_of_the_wrong_kind_is_told(asked):
    ask, server = asked
    server.says("202 Accepted")
    assert "202" in await failure(ask())


async def test_nobody_listening_is_told(monkeypatch):
    url = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("AWS_ENDPOINT_URL_LAMBDA", url)
    functions = Functions(Settings(), FakeLocal())
    try:
        assert "cannot be reached" in await failure(invoke(functions, "disclaimer"))
        assert "cannot be reached" in await failure(invoke(functions, url))
    finally:
        await functions.close()


async def test_no_proxy_stands_between_us_and_a_function_of_this_machine(asked, monkeypatch):
    ask, _ = asked
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert await ask() == ANSWER


# -- AWS Lambda


async def test_an_arn_is_one_word_of_the_path_and_names_its_region(monkeypatch):
    async with functions_and_server(monkeypatch) as (functions, server):
        await invoke(functions, ARN)
        await invoke(functions, "disclaimer")
    (by_arn, by_name) = server.requests
    assert by_arn.path == f"/2015-03-31/functions/{quote(ARN, safe='')}/invocations"
    assert "/eu-west-1/lambda/aws4_request" in by_arn.headers["authorization"]
    assert "/us-east-1/lambda/aws4_request" in by_name.headers["authorization"]


async def test_calls_share_the_connections_of_their_region(monkeypatch):
    async with functions_and_server(monkeypatch) as (functions, server):
        for _ in range(3):
            await invoke(functions, "disclaimer")
        assert (len(server.requests), server.connections) == (3, 1)


async def test_aws_region_comes_before_aws_default_region(monkeypatch):
    monkeypatch.setenv("AWS_REGION", "ap-south-1")
    async with functions_and_server(monkeypatch) as (functions, server):
        await invoke(functions, "disclaimer")
    assert "/ap-south-1/lambda/aws4_request" in server.requests[0].headers["authorization"]


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        (("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"), WORDS["NoCredentialsError"]),
        (("AWS_SECRET_ACCESS_KEY",), WORDS["PartialCredentialsError"]),
        (("AWS_DEFAULT_REGION",), WORDS["NoRegionError"]),
    ],
)
async def test_what_is_missing_in_the_environment_is_told(monkeypatch, missing, words):
    async with functions_and_server(monkeypatch) as (functions, server):
        for name in missing:
            monkeypatch.delenv(name)
        assert words in await failure(invoke(functions, "disclaimer"))
        assert server.requests == []


@pytest.mark.parametrize(("name", "value"), [("AWS_ENDPOINT_URL_LAMBDA", "no URL"), ("AWS_PROFILE", "unknown")])
async def test_an_environment_that_makes_no_sense_is_a_failed_invocation(monkeypatch, name, value):
    async with functions_and_server(monkeypatch) as (functions, _):
        monkeypatch.setenv(name, value)
        assert "Lambda did not take the call" in await failure(invoke(functions, "disclaimer"))


# -- HTTP


async def test_a_bare_host_is_asked_as_the_runtime_interface_emulator_is(monkeypatch):
    async with functions_and_server(monkeypatch) as (functions, server):
        await invoke(functions, server.url)
    assert server.requests[0].path == "/2015-03-31/functions/function/invocations"
    assert server.requests[0].headers["content-type"] == "application/json"


async def test_the_emulator_runs_an_event_and_answers_200(monkeypatch):
    async with functions_and_server(monkeypatch) as (functions, server):
        assert await invoke(functions, server.url, mode="async") == b""


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
async def test_a_redirect_is_not_followed(monkeypatch, status):
    async with functions_and_server(monkeypatch) as (functions, server):
        server.says(status, Location=f"{server.url}/elsewhere")
        assert f"HTTP {status[:3]}" in await failure(invoke(functions, server.url))
        assert len(server.requests) == 1


async def test_neither_cookies_nor_connections_are_kept(monkeypatch):
    async with functions_and_server(monkeypatch) as (functions, server):
        server.says("200 OK", ANSWER, Set_Cookie="a=b")
        url = server.url.replace("127.0.0.1", "localhost")  # a bare address would get no cookie back anyway
        await invoke(functions, url)
        await invoke(functions, url)
    assert "cookie" not in server.requests[1].headers
    assert server.connections == 2


# -- this machine


async def test_a_file_goes_to_a_process_of_this_machine(tmp_path):
    (tmp_path / "app.py").touch()
    local = FakeLocal()
    functions = Functions(Settings(), local)
    assert await invoke(functions, f"file:{tmp_path}/app.py:handler", timeout_seconds=7) == ANSWER
    assert await invoke(functions, "python:mail.handler", mode="async") == b""
    assert local.asked[0] == (f"file:{tmp_path}/app.py:handler", "a rule", EVENT, "0" * 32, 7)
    assert local.asked[1][0] == "python:mail.handler"
    await functions.close()
    assert local.is_closed


async def test_a_file_is_really_run(tmp_path):
    (tmp_path / "app.py").write_text("def run(event, context):\n    return [event, context.aws_request_id]\n")
    functions = Functions(Settings())
    try:
        seen, request_id = orjson.loads(await invoke(functions, f"file:{tmp_path}/app.py:run", timeout_seconds=60))
    finally:
        await functions.close()
    assert seen == orjson.loads(EVENT)
    assert request_id.replace("-", "") == "0" * 32


async def test_a_local_answer_has_the_same_limit():
    functions = Functions(Settings(), FakeLocal(b"x" * (MAX_ANSWER_BYTES + 1)))
    assert await failure(invoke(functions, "python:mail.handler")) == "the answer is larger than 256 KB"
    await functions.close()


async def test_a_target_that_is_none_any_more_is_a_failed_invocation(tmp_path):
    functions = Functions(Settings(), FakeLocal())
    assert "there is no file" in await failure(invoke(functions, f"file:{tmp_path}/gone.py:handler"))
    await functions.close()


class BrokenLocal(FakeLocal):
    """Fails as nothing should."""

    async def invoke(self, function, *, rule, payload, invocation_id, seconds):
        raise KeyError("type")


async def test_a_mistake_of_ours_is_a_failed_try():
    functions = Functions(Settings(), BrokenLocal())
    assert await failure(invoke(functions, "python:mail.handler")) == "it could not be called (KeyError)"
    await functions.close()
