"""Kind `redis_stream`: each event is an entry of a Redis stream, with the fields eventId, eventType and event (JSON).

The stream keeps about `MaxLength` entries, the newest ones. A part whose answer was lost is offered again from the same
beginning, by this process or another: beside the stream lies which events of the last part it has, so that none of
them is added twice. One script does both, so it is true after every crash. A replay begins elsewhere and adds anew; one
that begins with the same event is only known as such later than _REMEMBERED_MS, or when the stream is empty.
A server that is full refuses the part: on the spool's own one, mail comes first.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import orjson
from redis import asyncio as aioredis
from redis.exceptions import RedisError

from config.errors import TryLater
from config.redis_clients import redis_client

DEFAULT_MAX_LENGTH = 100_000
# How long a part may be offered again without being added twice: longer than the publisher's longest pause.
_REMEMBERED_MS = 400_000

# KEYS: stream, hash with the last part (first = its first event, one field an event). ARGV: the most entries, for how
# long the part is remembered, then id, type and event of each.
# A full server refuses the first write of a script if it grows the memory, and none behind a first one that does not.
_ADD = """
redis.call('HSET', KEYS[2], 'on', 1)
local is_again = redis.call('HGET', KEYS[2], 'first') == ARGV[3] and redis.call('XLEN', KEYS[1]) > 0
if not is_again then redis.call('DEL', KEYS[2]) end
for i = 3, #ARGV, 3 do
  if redis.call('HEXISTS', KEYS[2], ARGV[i]) == 0 then
    redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*',
      'eventId', ARGV[i], 'eventType', ARGV[i + 1], 'event', ARGV[i + 2])
    redis.call('HSET', KEYS[2], ARGV[i], 1)
  end
end
redis.call('HSET', KEYS[2], 'first', ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return redis.call('XLEN', KEYS[1])
"""


class RedisClients:
    """Clients of the servers that destinations name, one a URL, opened when first needed. `await close()` it."""

    def __init__(self) -> None:
        self._clients: dict[str, aioredis.Redis] = {}

    def client(self, url: str) -> aioredis.Redis:
        """Raises ValueError for what is no URL of a server."""
        if url not in self._clients:
            self._clients[url] = redis_client(url, connections=4)
        return self._clients[url]

    async def close(self) -> None:
        """Closes the connections."""
        for client in self._clients.values():
            await client.aclose()
        self._clients.clear()


class RedisStreamDestination:
    """Adds to one stream; `opened` gives the client of its server and raises TryLater when there can be none."""

    def __init__(self, name: str, target: Mapping[str, Any], opened: Callable[[], aioredis.Redis]) -> None:
        self.name = name
        self._opened = opened
        self._max_length = int(target.get("MaxLength") or DEFAULT_MAX_LENGTH)
        stream = str(target["Key"])
        # In one slot of a cluster-mode server.
        tagged = stream if "{" in stream else f"{{{stream}}}"
        self._keys = (stream, f"{tagged}:last-part:{name}")

    async def take(self, records: Sequence[bytes]) -> None:
        redis = self._opened()
        fields: list[bytes | str] = []
        for record in records:
            event = orjson.loads(record)
            fields += [str(event["eventId"]), str(event["eventType"]), record]
        try:
            added: Awaitable[Any] | Any = redis.eval(
                _ADD, len(self._keys), *self._keys, self._max_length, _REMEMBERED_MS, *fields
            )
            await added
        except (RedisError, OSError) as error:
            reason = f"the server of the stream did not take the events ({type(error).__name__})"
            raise TryLater(reason, detail=str(error)) from error
