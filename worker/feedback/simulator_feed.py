"""The simulator's feed of events: NDJSON over HTTP, read with a long poll from a position on.

`GET /events?since=N&wait=SECONDS` answers a bounded number of lines from position N on. Its headers are X-Next, the
position after the last of them; X-More, when there are more already; and X-Feed, which feed it is: a simulator that was
started anew has another one, which begins at 0.
"""

from dataclasses import dataclass

import aiohttp

from config.errors import TryLater

# For the answer itself, beyond the wait that was asked for.
_ANSWER_SECONDS = 15.0
_CONNECT_SECONDS = 5.0


class FeedAway(TryLater):
    """The source does not answer, or with something else than events."""


@dataclass(frozen=True, slots=True)
class Page:
    """What one read brought."""

    #: Which feed it is; "" = it does not say.
    feed: str
    #: One event each, not looked at yet.
    lines: tuple[bytes, ...]
    #: Position after the last line.
    next: int
    #: There is more already.
    is_cut: bool = False


class SimulatorFeed:
    """A connection to one simulator; end it with `close()`."""

    def __init__(self, url: str, *, wait_seconds: float) -> None:
        #: Its name among the positions that the spool keeps.
        self.source = url
        self._url = f"{url.rstrip('/')}/events"
        self._wait_seconds = wait_seconds
        # Not trust_env: a proxy has nothing to do with a simulator.
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=wait_seconds + _ANSWER_SECONDS, sock_connect=_CONNECT_SECONDS)
        )

    async def read(self, since: int) -> Page:
        """The events from a position on; waits a while when there are none. Raises FeedAway."""
        try:
            parameters = {"since": str(since), "wait": f"{self._wait_seconds:g}"}
            async with self._session.get(self._url, params=parameters) as answer:
                if answer.status != 200:
                    raise FeedAway(f"{self._url} answers {answer.status}")
                body = await answer.read()
                return Page(
                    feed=answer.headers.get("X-Feed", ""),
                    lines=tuple(line for line in body.split(b"\n") if line.strip()),
                    next=int(answer.headers["X-Next"]),
                    is_cut="X-More" in answer.headers,
                )
        except (aiohttp.ClientError, OSError) as error:
            raise FeedAway(f"{self._url} does not answer", detail=f"{type(error).__name__}: {error}") from error
        except (KeyError, ValueError) as error:
            raise FeedAway(f"{self._url} answers without a position", detail=repr(error)) from error

    async def close(self) -> None:
        await self._session.close()
