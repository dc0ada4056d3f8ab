"""The AWS credentials of the relay, and what to do when there are none.

They come from the ordinary environment (variables, profile, role) or from what a route names instead, found once and
renewed by botocore when they are temporary. When none are found, or SES does not know them, the environment is read
again, at most every ten seconds: a key that an operator puts right is used without a restart of the worker.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any, Protocol

from config.aws_clients import RoleSession, aws_session
from config.settings import RouteSettings
from worker.relay.signature import Credentials

# botocore's providers have limits of their own, a credential process has none.
_MAX_WAIT_SECONDS = 30
_LOOK_AGAIN_SECONDS = 10
# Temporary credentials are renewed minutes before their end; asking botocore for each call is not needed.
_TRUSTED_SECONDS = 1
_ADVICE = "check the role or profile of the worker"

#: SES's codes for credentials that it does not, or no longer, know.
REFUSED_CODES = frozenset(
    {
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidClientTokenId",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)


class NoCredentials(Exception):  # noqa: N818 - the call waits, nothing is wrong with it
    """There are no credentials now; the text says what an operator can do."""


class AwsSession(Protocol):
    """The part of an AWS session that is needed here."""

    async def get_credentials(self) -> Any: ...


def source_for(route: RouteSettings, region: str) -> "CredentialSource":
    """The credentials of a route: its own key pair, its profile or the environment's, and its role on top of them."""

    def new_session() -> AwsSession:
        session = aws_session(
            region,
            profile=route.profile,
            access_key_id=route.access_key_id,
            secret_access_key=route.secret_access_key,
        )
        return RoleSession(session, route.role_arn, region) if route.role_arn else session

    return CredentialSource(new_session, advice=advice_for(route))


def advice_for(route: RouteSettings) -> str:
    """What an operator can look at when the credentials of this route cannot be had."""
    if route.role_arn:
        return f"check that {route.role_arn} trusts the worker's own credentials, and that they may sts:AssumeRole"
    if route.profile:
        return f"check the AWS profile {route.profile}"
    return _ADVICE


class CredentialSource:
    """Gives the credentials of each call. `new_session` reads the environment; it may raise botocore's errors."""

    def __init__(
        self,
        new_session: Callable[[], AwsSession],
        *,
        advice: str = _ADVICE,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._new_session = new_session
        self._advice = advice
        self._clock = clock
        self._lock = asyncio.Lock()
        self._found: Any = None
        self._looked_at: float | None = None
        self._trouble = ""
        self._latest: Credentials | None = None
        self._latest_until = 0.0

    async def current(self) -> Credentials:
        """Credentials that are valid now. Raises NoCredentials."""
        if self._latest is not None and self._clock() < self._latest_until:
            return self._latest
        if self._found is None:
            await self._look()
        try:
            async with asyncio.timeout(_MAX_WAIT_SECONDS):
                frozen = await self._found.get_frozen_credentials()
        except Exception as error:  # the providers raise whatever their sources do
            raise NoCredentials(f"AWS credentials could not be renewed ({_said(error)}); {self._advice}") from error
        self._latest = Credentials(frozen.access_key, frozen.secret_key, frozen.token or "")
        self._latest_until = self._clock() + _TRUSTED_SECONDS
        return self._latest

    def refused(self) -> None:
        """SES did not know them: the environment is read again for the next call."""
        self._latest = None
        if self._may_look():
            self._found = None

    async def _look(self) -> None:
        async with self._lock:
            if self._found is not None:
                return
            if self._may_look():
                self._looked_at = self._clock()
                self._found, self._trouble = await self._looked()
        if self._found is None:
            raise NoCredentials(self._trouble)

    def _may_look(self) -> bool:
        return self._looked_at is None or self._clock() - self._looked_at >= _LOOK_AGAIN_SECONDS

    async def _looked(self) -> tuple[Any, str]:
        try:
            async with asyncio.timeout(_MAX_WAIT_SECONDS):
                found = await self._new_session().get_credentials()
        except Exception as error:  # noqa: BLE001 - the providers raise whatever their sources do
            return None, f"AWS credentials could not be read ({_said(error)}); {self._advice}"
        return found, (
            "" if found else "no AWS credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, a profile or a role"
        )


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
