"""The only factory of AWS clients. The ordinary environment decides: region, keys, profile, role, endpoint URLs.

A file of its own because importing it takes 25 MB and a third of a second, which a gateway need not pay.
"""

import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any

import aioboto3
from aiobotocore.config import AioConfig
from aiobotocore.credentials import AioDeferredRefreshableCredentials
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

S3Opener = Callable[[], AbstractAsyncContextManager["S3Client"]]

BotoErrors = (BotoCoreError, ClientError, OSError)

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
