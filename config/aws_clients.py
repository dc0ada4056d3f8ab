"""The only factory of AWS clients. The ordinary environment decides: region, keys, profile, role, endpoint URLs.

A file of its own because importing it takes 25 MB and a third of a second, which a gateway need not pay.
"""

import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import aioboto3
from aiobotocore.config import AioConfig
from aiobotocore.credentials import AioDeferredRefreshableCredentials
from aiobotocore.httpsession import AIOHTTPSession
from botocore.configprovider import ConfiguredEndpointProvider
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    FlexibleChecksumError,
    HTTPClientError,
    IncompleteReadError,
    NoCredentialsError,
    PartialCredentialsError,
)
from botocore.exceptions import ConnectionError as BotoConnectionError

if TYPE_CHECKING:
    from types_aiobotocore_lambda.client import LambdaClient
    from types_aiobotocore_s3.client import S3Client

S3Opener = Callable[[], AbstractAsyncContextManager["S3Client"]]

BotoErrors = (BotoCoreError, ClientError, OSError)
# The client's own errors that mean that the service did not answer, or not wholly.
_BROKEN = (BotoConnectionError, HTTPClientError, IncompleteReadError, FlexibleChecksumError)

# Of a service's answer. What is sent with a redirection is read like an error.
_FIRST_ERROR_STATUS = 300
_MAX_ERROR_BYTES = 64 * 1024

# Whoever looks into the role's account sees who used it; STS allows letters, digits and these few signs.
_ROLE_SESSION_NAME = "mailsluice"


def aws_session(
    region: str = "", *, profile: str = "", access_key_id: str = "", secret_access_key: str = ""
) -> aioboto3.Session:
    """A session of the ordinary AWS environment; what is given here wins over it.

    Raises botocore's errors for a profile that there is not.
    """
    # botocore itself knows AWS_DEFAULT_REGION only; every other SDK reads AWS_REGION first.
    return aioboto3.Session(
        region_name=region or os.environ.get("AWS_REGION") or None,
        profile_name=profile or None,
        aws_access_key_id=access_key_id or None,
        aws_secret_access_key=secret_access_key or None,
    )


class RoleSession:
    """The credentials of a role, assumed with those of another session and renewed minutes before their end."""

    def __init__(self, session: aioboto3.Session, role_arn: str, region: str) -> None:
        self._session = session
        self._role_arn = role_arn
        self._region = region

    async def get_credentials(self) -> Any:
        """Nothing is asked before they are used for the first time."""
        return AioDeferredRefreshableCredentials(self._assumed, "assume-role")

    async def _assumed(self) -> dict[str, str]:
        config = AioConfig(connect_timeout=5, read_timeout=10, retries={"total_max_attempts": 2, "mode": "standard"})
        open_client: Any = self._session.client  # the stubs list the services that are asked by their own client only
        async with open_client("sts", region_name=self._region, config=config) as sts:
            answer = await sts.assume_role(RoleArn=self._role_arn, RoleSessionName=_ROLE_SESSION_NAME)
        found = answer["Credentials"]
        return {
            "access_key": found["AccessKeyId"],
            "secret_key": found["SecretAccessKey"],
            "token": found["SessionToken"],
            "expiry_time": found["Expiration"].isoformat(),
        }


def s3_opener(session: aioboto3.Session) -> S3Opener:
    """Opens S3 clients for the content store: few attempts, virtual or path style as the endpoint asks."""
    config = AioConfig(retries={"total_max_attempts": 3, "mode": "standard"}, signature_version="s3v4")
    return lambda: session.client("s3", config=config)


def lambda_client(
    session: aioboto3.Session, *, read_timeout_seconds: float, max_connections: int, is_direct: bool
) -> AbstractAsyncContextManager["LambdaClient"]:
    """A Lambda client that asks once: a repeat would run the function twice. Direct = past the environment's proxy."""
    config = AioConfig(
        connect_timeout=5,
        read_timeout=read_timeout_seconds,
        max_pool_connections=max_connections,
        retries={"total_max_attempts": 1, "mode": "standard"},
        proxies={} if is_direct else None,
    )
    return session.client("lambda", config=config)


#: Services that events are given to.
EventService = Literal["cloudwatch", "events", "firehose", "sns"]


def event_client(
    session: aioboto3.Session, service: EventService, region: str = ""
) -> AbstractAsyncContextManager[Any]:
    """A client of a service that takes events; two attempts of it end within the time that one part may need."""
    config = AioConfig(
        connect_timeout=3,
        read_timeout=8,
        max_pool_connections=10,
        retries={"total_max_attempts": 2, "mode": "standard"},
    )
    open_client: Any = session.client  # the stubs list the services that are asked by their own client only
    client: AbstractAsyncContextManager[Any] = open_client(service, region_name=region or None, config=config)
    return client


def ses_account_client(
    region: str, *, access_key_id: str, secret_access_key: str, session_token: str, endpoint_url: str
) -> AbstractAsyncContextManager[Any]:
    """A client of SES v2 for questions about the account, with these credentials; throttling makes it slower."""
    session = aws_session(region, access_key_id=access_key_id, secret_access_key=secret_access_key)
    open_client: Any = session.client  # the stubs know no credentials that are given here
    client: AbstractAsyncContextManager[Any] = open_client(
        "sesv2",
        aws_access_key_id=access_key_id,
        aws_secret_access_key=secret_access_key,
        aws_session_token=session_token or None,
        endpoint_url=endpoint_url or None,
        config=AioConfig(connect_timeout=5, read_timeout=15, retries={"total_max_attempts": 4, "mode": "standard"}),
    )
    return client


#: Services whose set-up `mailsluice doctor` looks at.
SetUpService = Literal["ses", "sesv2", "sns", "sqs", "sts"]


def set_up_client(session: aioboto3.Session, service: SetUpService) -> AbstractAsyncContextManager[Any]:
    """A client for a person who waits for the answer: short limits, two attempts. Raises one of BotoErrors."""
    config = AioConfig(connect_timeout=5, read_timeout=15, retries={"total_max_attempts": 2, "mode": "standard"})
    open_client: Any = session.client  # the stubs list the services that are asked by their own client only
    client: AbstractAsyncContextManager[Any] = open_client(service, config=config)
    return client


def sqs_client(
    session: aioboto3.Session, *, wait_seconds: float, endpoint_url: str = ""
) -> AbstractAsyncContextManager[Any]:
    """A client for the queue of SES's events, whose calls may wait so long for messages."""
    config = AioConfig(
        connect_timeout=5,
        read_timeout=wait_seconds + 10,
        max_pool_connections=20,
        retries={"total_max_attempts": 2, "mode": "standard"},
    )
    open_client: Any = session.client  # the stubs list the services that are asked by their own client only
    client: AbstractAsyncContextManager[Any] = open_client("sqs", endpoint_url=endpoint_url or None, config=config)
    return client


def error_code(error: Exception) -> tuple[str, str]:
    """AWS's code and text of an error that the service told; of any other its name and words."""
    told = error.response.get("Error", {}) if isinstance(error, ClientError) else {}
    return told.get("Code", "") or type(error).__name__, told.get("Message", "") or str(error)


def open_s3_reader(region: str = "") -> AbstractAsyncContextManager["S3Client"]:
    """A new S3 client that reads what callers name, quickly or not at all; the environment is looked at now.

    With an endpoint of the user's own the bucket is in the path, as `bucket.host` is seldom a name there.
    Raises one of BotoErrors for an environment that cannot be used.
    """
    session = aws_session(region)
    addressing = "path" if _own_s3_endpoint(session) else "auto"
    config = AioConfig(
        connect_timeout=3,
        read_timeout=8,
        retries={"total_max_attempts": 2, "mode": "standard"},
        signature_version="s3v4",
        s3={"addressing_style": addressing},
        http_session_cls=_BoundedErrors,
    )
    return session.client("s3", config=config)


class _BoundedErrors(AIOHTTPSession):
    """Reads so much of an error as errors of AWS have; the client itself would hold all that a server sends."""

    async def send(self, request: Any) -> Any:
        response = await super().send(request)
        if response.status_code < _FIRST_ERROR_STATUS:
            return response
        body, content = response.raw, bytearray()
        while piece := await body.content.read(_MAX_ERROR_BYTES):
            content += piece
            if len(content) > _MAX_ERROR_BYTES:
                body.close()
                raise HTTPClientError(error="the error that the service sends does not end")
        response._content = bytes(content)  # noqa: SLF001 - where the client keeps what it has read of a body
        return response


def _own_s3_endpoint(session: aioboto3.Session) -> bool:
    core: Any = session._session  # noqa: SLF001 - aioboto3 has no other way to the configuration
    provider = ConfiguredEndpointProvider(
        full_config=core.full_config, scoped_config=core.get_scoped_config(), client_name="s3"
    )
    return provider.provide() is not None


@dataclass(frozen=True, slots=True)
class AwsTrouble:
    """Why a call of an AWS client failed."""

    #: answer = the service refused; request = it was never asked, because the call cannot be made.
    kind: Literal["answer", "credentials", "unreachable", "request"]
    #: The service's, or the name of the client's own error.
    code: str
    #: HTTP status of an answer.
    status: int = 0
    #: For the log.
    detail: str = ""


def trouble_of(error: Exception) -> AwsTrouble:
    """One of BotoErrors, or aiohttp's own, in our words."""
    name, detail = type(error).__name__, str(error)
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return AwsTrouble("answer", str(error.response.get("Error", {}).get("Code") or status), status, detail)
    if isinstance(error, NoCredentialsError | PartialCredentialsError | CredentialRetrievalError):
        return AwsTrouble("credentials", name, detail=detail)
    if isinstance(error, BotoCoreError) and not isinstance(error, _BROKEN):
        return AwsTrouble("request", name, detail=detail)
    return AwsTrouble("unreachable", name, detail=detail)
