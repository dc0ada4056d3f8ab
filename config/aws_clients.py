"""The only factory of AWS clients. The ordinary environment decides: region, keys, profile, role, endpoint URLs.

A file of its own because importing it takes 25 MB and a third of a second, which a gateway need not pay.
"""

import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import aioboto3
from aiobotocore.config import AioConfig
from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

S3Opener = Callable[[], AbstractAsyncContextManager["S3Client"]]

BotoErrors = (BotoCoreError, ClientError, OSError)


def aws_session(region: str = "") -> aioboto3.Session:
    """A session of the ordinary AWS environment; an explicit region wins over it."""
    # botocore itself knows AWS_DEFAULT_REGION only; every other SDK reads AWS_REGION first.
    return aioboto3.Session(region_name=region or os.environ.get("AWS_REGION") or None)


def s3_opener(session: aioboto3.Session) -> S3Opener:
    """Opens S3 clients for the content store: few attempts, virtual or path style as the endpoint asks."""
    config = AioConfig(retries={"total_max_attempts": 3, "mode": "standard"}, signature_version="s3v4")
    return lambda: session.client("s3", config=config)
