"""The leases of one process: renewed while work runs, looked at before every SES call.

Theory of operation
1. A claim brings a lease with a deadline on this process's monotonic clock, taken before the server was asked.
2. A third of a term before nothing is left the keeper renews all leases in one call. The clock goes on while a
   process is frozen, so after a SIGSTOP the deadline has passed and `is_valid` says no before the server does.
3. A lease that the server does not know any more is lost: `is_valid` says no at once, the fence refuses the rest.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence

from config.errors import TryLater
from config.logs import get_log
from spool.records import Lease
from spool.store import Spool


class LeaseKeeper:
    """Keeps the leases of the messages that this process works on."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._leases: dict[str, Lease] = {}
        self._log = get_log()

    def __len__(self) -> int:
        return len(self._leases)

    def take(self, lease: Lease) -> None:
        """From now on the lease is renewed."""
        self._leases[lease.message_id] = lease

    def drop(self, lease: Lease) -> None:
        """The message is settled, or lost."""
        held = self._leases.get(lease.message_id)
        if held and held.fence == lease.fence:
            del self._leases[lease.message_id]

    def is_valid(self, lease: Lease) -> bool:
        """Whether this process may still act for the message."""
        held = self._leases.get(lease.message_id)
        return held is not None and held.fence == lease.fence and time.monotonic() < held.deadline

    async def run(self, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        """Renews for ever, three times a term, and soon again after a failure."""
        third = self._spool.lease_seconds / 3
        pause = third
        while True:
            await sleep(pause)
            pause = third
            try:
                await self._renew(list(self._leases.values()))
            except TryLater as error:
                pause = min(1.0, third / 4)  # the server may be back before the leases end
                self._log.warning("spool.unavailable", doing="renew leases", error=error.detail)

    async def _renew(self, leases: Sequence[Lease]) -> None:
        if not leases:
            return
        for lease, renewed in zip(leases, await self._spool.renew(leases), strict=True):
            if renewed:
                if self._leases.get(lease.message_id) == lease:  # not settled in the meantime
                    self._leases[lease.message_id] = renewed
            elif self._leases.get(lease.message_id) == lease:
                self.drop(lease)
                self._log.warning("message.lease_lost", message_id=lease.message_id)
