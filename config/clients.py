"""The only factory of Redis and AWS clients.

Redis: no silent retries (the caller knows whether a repeat is safe), a time limit on every answer. AWS: the
ordinary environment decides (AWS_REGION, keys, profile, role, AWS_ENDPOINT_URL_SES …).
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

import aioboto3
from aiobotocore.config import AioConfig
from botocore.exceptions import BotoCoreError, ClientError
from redis import asyncio as aioredis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

S3Opener = Callable[[], AbstractAsyncContextManager["S3Client"]]

BotoErrors = (BotoCoreError, ClientError, OSError)


def redis_client(url: str, *, connections: int = 8, answer_seconds: float = 10) -> aioredis.Redis:
    """A client of the spool's server with its own small pool; close it with `aclose()`."""
    pool = aioredis.BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=answer_seconds,
        socket_timeout=answer_seconds,
        socket_connect_timeout=5,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
    )
    return aioredis.Redis.from_pool(pool)


def aws_session(region: str = "") -> aioboto3.Session:
    """A session of the ordinary AWS environment; an explicit region wins over it."""
    return aioboto3.Session(region_name=region or None)


def s3_opener(session: aioboto3.Session) -> S3Opener:
    """Opens S3 clients for the content store: few attempts, virtual or path style as the endpoint asks."""
    config = AioConfig(retries={"total_max_attempts": 3, "mode": "standard"}, signature_version="s3v4")
    return lambda: session.client("s3", config=config)
