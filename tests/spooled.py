"""Messages in a spool on a test's server, in every place a message can be; for tests that are not async."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import orjson

from config.redis_clients import redis_client
from config.settings import Settings
from spool import keys
from spool.assembly import open_spool
from spool.records import Attempt, NewMessage, Settlement, new_message_id
from spool.states import RecipientState
from spool.store import Spool

Result = TypeVar("Result")


def settings_of(url: str, folder: Path, **sections: Any) -> Settings:
    """Settings for this server with everything else in the folder."""
    return Settings(data={"dir": folder}, redis={"url": url}, **sections)


def with_spool(settings: Settings, work: Callable[[Spool], Awaitable[Result]]) -> Result:
    """Runs `work(spool)` in a loop of its own."""

    async def run() -> Result:
        redis = redis_client(settings.redis_url)
        try:
            return await work(open_spool(settings, redis=redis))
        finally:
            await redis.aclose()

    return asyncio.run(run())


async def accept(spool: Spool, recipients: int = 1, **fields: Any) -> str:
    """One message; its id."""
    message_id = new_message_id()
    addresses = tuple(f"user{number}@example.net" for number in range(recipients))
    content = b"Subject: x\r\n\r\nbody\r\n"
    await spool.accept(NewMessage(message_id, "sender@example.com", addresses, content, **fields))
    return message_id


async def settle(spool: Spool, message_id: str, **fields: Any) -> None:
    """Claims the message and settles it so."""
    [claimed] = await spool.claim([message_id], "worker-1")
    assert await spool.settle(Settlement(claimed.lease, number=1, **fields))


async def send(spool: Spool, message_id: str, ses_message_id: str) -> None:
    """The whole life of a message whose only batch SES accepted."""
    message = await spool.load(message_id)
    assert message is not None
    everybody = tuple(range(len(message.recipients)))
    attempt = Attempt(1, everybody, message.accepted_at_ms, "worker-1", "accepted", message.accepted_at_ms + 250)
    attempt = Attempt.decode(orjson.dumps({**orjson.loads(attempt.encode()), "ses_message_id": ses_message_id}))
    sent = (RecipientState.SENT,) * len(everybody)
    await settle(spool, message_id, to="done", states=sent, attempts=(attempt,))


async def beat(spool: Spool, *, name: str = "worker-1", late_ms: int = 0) -> None:
    """The heartbeat of a worker, as the worker process writes it."""
    seconds, micros = await spool.redis.time()
    at_ms = seconds * 1000 + micros // 1000 - late_ms
    row = {"at_ms": at_ms, "started_at_ms": at_ms, "last_claim_at_ms": at_ms, "claimed": 3, "active": 1}
    await spool.redis.hset(keys.WORKERS, name, orjson.dumps(row))
