"""Calls functions of AWS Lambda: one Invoke a call, never repeated here, and words for whatever goes wrong.

Endpoint (AWS_ENDPOINT_URL_LAMBDA), credentials and region are those of the ordinary AWS environment; an ARN names its
own region. There is one client for each region, opened when it is needed. Who gives up waiting is the caller.
"""

import asyncio
from collections.abc import Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import aiohttp
from yarl import URL

from config.aws_clients import BotoErrors, aws_session, error_code, lambda_client
from worker.functions.failures import InvocationFailed
from worker.functions.raw_answer import failure_of, one_line, read_bounded
from worker.functions.targets import LambdaTarget
from worker.relay.endpoint import proxy_for

if TYPE_CHECKING:
    from types_aiobotocore_lambda.client import LambdaClient
    from types_aiobotocore_lambda.type_defs import InvocationResponseTypeDef

# Longer than the longest function: the caller's own limit ends a call.
_READ_TIMEOUT_SECONDS = 930
_MAX_CONNECTIONS = 256
_NOT_REACHED = "Lambda cannot be reached"
_NO_ANSWER = "the call ended without an answer"
_UNKNOWN_KEYS = "AWS does not take these credentials"

#: AWS's code, or the name of botocore's error → words.
WORDS: Mapping[str, str] = {
    "TooManyRequestsException": "Lambda throttles the function",
    "EC2ThrottledException": "Lambda throttles the function",
    "ThrottlingException": "Lambda throttles the function",
    "AccessDeniedException": "these credentials may not run the function; they need lambda:InvokeFunction",
    "KMSAccessDeniedException": "the function may not use its key",
    "ResourceNotFoundException": "there is no such function, version or alias in this region and account",
    "ResourceNotReadyException": "the function is not ready",
    "ResourceConflictException": "the function is being changed",
    "RequestTooLargeException": "the event is too large for Lambda",
    "ServiceException": "Lambda failed",
    "UnrecognizedClientException": _UNKNOWN_KEYS,
    "InvalidSignatureException": _UNKNOWN_KEYS,
    "InvalidClientTokenId": _UNKNOWN_KEYS,
    "SignatureDoesNotMatch": _UNKNOWN_KEYS,
    "ExpiredTokenException": "the AWS credentials have expired",
    "NoCredentialsError": "there are no AWS credentials",
    "PartialCredentialsError": "the AWS credentials are not complete",
    "NoRegionError": "no AWS region is set; AWS_REGION or the function's ARN names one",
    "EndpointConnectionError": _NOT_REACHED,
    "ConnectTimeoutError": _NOT_REACHED,
    "ProxyConnectionError": _NOT_REACHED,
    "SSLError": _NOT_REACHED,
    "ConnectionClosedError": _NO_ANSWER,
    "ReadTimeoutError": _NO_ANSWER,
    "AioReadTimeoutError": _NO_ANSWER,
    "ResponseStreamingError": _NO_ANSWER,
    "IncompleteReadError": _NO_ANSWER,
    "ClientPayloadError": _NO_ANSWER,
    "HTTPClientError": _NO_ANSWER,
}


class LambdaFunctions:
    """The functions of AWS Lambda. Build it anywhere, `await close()` it on the event loop that used it."""

    def __init__(self) -> None:
        self._stack = AsyncExitStack()
        self._clients: dict[str, LambdaClient] = {}
        self._opening = asyncio.Lock()

    async def close(self) -> None:
        """Closes the connections."""
        self._clients.clear()
        await self._stack.aclose()

    async def invoke(self, target: LambdaTarget, payload: bytes, *, is_event: bool) -> bytes:
        """One call; the answer, or nothing for an event, which Lambda queues. Raises InvocationFailed."""
        try:
            client = await self._client(target.region)
            response = await client.invoke(
                FunctionName=target.name_or_arn,
                InvocationType="Event" if is_event else "RequestResponse",
                Payload=payload,
            )
            return await _answer_of(response, is_event=is_event)
        except (*BotoErrors, aiohttp.ClientError, ValueError) as error:  # ValueError: an endpoint that is no URL
            raise _failure(error) from error

    async def _client(self, region: str) -> "LambdaClient":
        async with self._opening:
            if region not in self._clients:
                self._clients[region] = await self._open(region)
            return self._clients[region]

    async def _open(self, region: str) -> "LambdaClient":
        """Past the environment's proxy where the endpoint is not behind it: only an open client knows its endpoint."""
        session = aws_session(region)
        for is_direct in (True, False):
            opening = lambda_client(
                session,
                read_timeout_seconds=_READ_TIMEOUT_SECONDS,
                max_connections=_MAX_CONNECTIONS,
                is_direct=is_direct,
            )
            async with AsyncExitStack() as opened:
                client = await opened.enter_async_context(opening)
                if not is_direct or proxy_for(URL(client.meta.endpoint_url)) is None:
                    self._stack.push_async_exit(opened.pop_all())
                    break
        return client


async def _answer_of(response: "InvocationResponseTypeDef", *, is_event: bool) -> bytes:
    stream = response["Payload"]
    try:
        answer = await read_bounded(stream.read)
    finally:
        stream.close()  # an answer that was not read to its end takes its connection with it
    if response.get("FunctionError"):
        raise failure_of(answer)
    expected = 202 if is_event else 200
    if response["StatusCode"] != expected:
        raise InvocationFailed(f"Lambda answered {response['StatusCode']}, not {expected}")
    return b"" if is_event else answer


def _failure(error: Exception) -> InvocationFailed:
    code, text = error_code(error)
    words = WORDS.get(code, "Lambda did not take the call" if code else _NO_ANSWER)
    said = one_line(f"{code}: {text}" if text else code, 300)
    return InvocationFailed(f"{words} ({said})")
