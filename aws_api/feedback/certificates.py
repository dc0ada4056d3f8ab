"""SNS's signing certificates: fetched once over TLS from the host that the envelope's check allowed, and kept a while.

Many forged messages, each naming another certificate, must not make as many calls: one is fetched at a time, and what
could not be fetched is not asked for again at once.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from aws_api.feedback.envelope import Forged
from aws_api.feedback.rsa_signature import NoKey, key_of
from config.errors import Refused, TryLater

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey as PublicKey

_KEPT_SECONDS = 24 * 3600.0
_REFUSED_SECONDS = 60.0
_MOST_KEPT = 64
_LARGEST_BYTES = 64 * 1024
_FETCH_SECONDS = 5.0
_OK, _NOT_THERE = 200, (403, 404)


class HttpAnswer(Protocol):
    """What came back."""

    @property
    def status(self) -> int: ...

    @property
    def body(self) -> bytes: ...


Get = Callable[[str, float, int], Awaitable[HttpAnswer]]


class CertificatesAway(TryLater):
    """SNS does not give the certificate now."""


@dataclass(frozen=True, slots=True)
class _Known:
    until: float
    #: None = there is no such certificate.
    key: "PublicKey | None"


class Certificates:
    """The keys of the certificates that were asked for. `get(url, seconds, bytes)` raises Refused and TryLater."""

    def __init__(self, get: Get, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._get = get
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._turn = asyncio.Lock()

    async def key(self, url: str) -> "PublicKey":
        """The key of the certificate there. Raises Forged, CertificatesAway."""
        if (known := self._fresh(url)) is None:
            async with self._turn:
                known = self._fresh(url) or await self._fetched(url)
        if known.key is None:
            raise Forged("There is no such certificate of SNS.")
        return known.key

    def _fresh(self, url: str) -> _Known | None:
        known = self._known.get(url)
        return known if known and known.until > self._clock() else None

    async def _fetched(self, url: str) -> _Known:
        try:
            answer = await self._get(url, _FETCH_SECONDS, _LARGEST_BYTES)
        except Refused as error:
            raise CertificatesAway("SNS's certificate may not be fetched", detail=error.detail) from error
        if answer.status == _OK:
            known = _Known(self._clock() + _KEPT_SECONDS, _key_of(answer.body))
        elif answer.status in _NOT_THERE:
            known = _Known(self._clock() + _REFUSED_SECONDS, None)
        else:
            raise CertificatesAway(f"SNS answers {answer.status} for its certificate")
        while len(self._known) >= _MOST_KEPT:
            self._known.pop(
                min(self._known, key=lambda one: (self._known[one].key is not None, self._known[one].until))
            )
        self._known[url] = known
        return known


def _key_of(pem: bytes) -> "PublicKey | None":
    try:
        return key_of(pem)
    except NoKey:
        return None
