"""SNS's signing certificates: fetched once over TLS from the host that the envelope's check allowed, and kept a while.

Many forged messages, each naming another certificate, must not make as many calls, nor stand before the true one. A
certificate that never verified a message is fetched when the line before it is short, one at a time, ten at once and
one a second after that; whoever finds no place is told to come again. One that verified has a line of its own.

Only 404 says that there is no such certificate. An answer that cannot be read, or a 403, may be a hiccup of a cache in
between: it is for SNS to come again, as a message that is refused is lost.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from aws_api.feedback.envelope import Forged
from aws_api.feedback.rsa_signature import NoKey, key_of
from config.errors import Refused, TryLater

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey as PublicKey

_KEPT_SECONDS = 24 * 3600.0
_ABSENT_SECONDS = 60.0
_UNREADABLE_SECONDS = 10.0
_MOST_KEPT = 64
_LARGEST_BYTES = 64 * 1024
_FETCH_SECONDS = 5.0
#: SNS itself waits 15 s for an answer.
_TURN_SECONDS = 10.0
_MOST_WAITING = 20
#: Fetches of certificates that never verified a message: so many at once, and one a second.
_MOST_FETCHES = 10.0


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
    #: None = there is none that could be used.
    key: "PublicKey | None"
    #: Whether the host says that there is no such certificate.
    is_absent: bool = False
    #: Whether a message of our topics was rightly signed with it.
    has_verified: bool = False


@dataclass(slots=True)
class _Line:
    """Who waits until a certificate may be fetched."""

    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0


class Certificates:
    """The keys of the certificates that were asked for. `get(url, seconds, bytes)` raises Refused and TryLater."""

    def __init__(self, get: Get, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._get = get
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._proven, self._new = _Line(), _Line()
        self._fetches, self._fetched_at = _MOST_FETCHES, clock()

    async def key(self, url: str) -> "PublicKey":
        """The key of the certificate there. Raises Forged, CertificatesAway."""
        if (known := self._fresh(url)) is None:
            async with self._turn(self._proven if self._has_verified(url) else self._new):
                known = self._fresh(url) or await self._fetched(url)
        if known.is_absent:
            raise Forged("There is no such certificate of SNS.")
        if known.key is None:
            raise CertificatesAway("SNS's certificate cannot be read")
        return known.key

    def note_verified(self, url: str) -> None:
        """A message was rightly signed with this one."""
        if (known := self._known.get(url)) and not known.has_verified:
            self._known[url] = replace(known, has_verified=True)

    def _fresh(self, url: str) -> _Known | None:
        known = self._known.get(url)
        return known if known and known.until > self._clock() else None

    def _has_verified(self, url: str) -> bool:
        return url in self._known and self._known[url].has_verified

    @asynccontextmanager
    async def _turn(self, line: _Line) -> AsyncIterator[None]:
        """One after the other. Raises CertificatesAway when the line is long or slow."""
        if line.waiting >= _MOST_WAITING:
            raise CertificatesAway("too many certificates of SNS are asked for at once")
        line.waiting += 1
        try:
            async with asyncio.timeout(_TURN_SECONDS):
                await line.turn.acquire()
        except TimeoutError as error:
            raise CertificatesAway("SNS's certificates come too slowly") from error
        finally:
            line.waiting -= 1
        try:
            yield
        finally:
            line.turn.release()

    async def _fetched(self, url: str) -> _Known:
        has_verified = self._has_verified(url)
        if not (has_verified or self._may_fetch()):
            raise CertificatesAway("too many certificates of SNS are asked for at once")
        try:
            answer = await self._get(url, _FETCH_SECONDS, _LARGEST_BYTES)
        except Refused as error:
            raise CertificatesAway("SNS's certificate may not be fetched", detail=error.detail) from error
        known = replace(_known_of(answer, self._clock()), has_verified=has_verified)
        self._known.pop(url, None)
        while len(self._known) >= _MOST_KEPT:
            self._known.pop(min(self._known, key=self._worth))
        self._known[url] = known
        return known

    def _worth(self, url: str) -> tuple[bool, bool, float]:
        known = self._known[url]
        return known.has_verified, known.key is not None, known.until

    def _may_fetch(self) -> bool:
        now = self._clock()
        self._fetches = min(_MOST_FETCHES, self._fetches + now - self._fetched_at)
        self._fetched_at = now
        if self._fetches < 1:
            return False
        self._fetches -= 1
        return True


def _known_of(answer: HttpAnswer, now: float) -> _Known:
    """What an answer tells. Raises CertificatesAway."""
    match answer.status:
        case 200:
            key = _key_of(answer.body)
            return _Known(now + (_KEPT_SECONDS if key else _UNREADABLE_SECONDS), key)
        case 403:
            return _Known(now + _UNREADABLE_SECONDS, None)
        case 404:
            return _Known(now + _ABSENT_SECONDS, None, is_absent=True)
        case status:
            raise CertificatesAway(f"SNS answers {status} for its certificate")


def _key_of(pem: bytes) -> "PublicKey | None":
    try:
        return key_of(pem)
    except NoKey:
        return None
