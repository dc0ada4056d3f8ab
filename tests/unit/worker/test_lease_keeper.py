import asyncio
import time

from spool.records import Lease
from spool.scripts import StoreUnavailable
from worker.leases import LeaseKeeper


class RenewingSpool:
    """Renews all leases but those in `lost`."""

    lease_seconds = 0.03

    def __init__(self) -> None:
        self.lost: set[str] = set()
        self.renewals = 0

    async def renew(self, leases):
        self.renewals += 1
        return [
            None if one.message_id in self.lost else Lease(one.message_id, one.fence, time.monotonic() + 60)
            for one in leases
        ]


async def until(condition):
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_lease_is_valid_until_its_deadline_and_while_it_is_held():
    keeper = LeaseKeeper(RenewingSpool())
    fresh, stale = Lease("a", 1, time.monotonic() + 60), Lease("b", 1, time.monotonic() - 0.001)
    assert not keeper.is_valid(fresh)
    keeper.take(fresh)
    keeper.take(stale)
    assert keeper.is_valid(fresh)
    assert not keeper.is_valid(stale)
    keeper.drop(fresh)
    assert not keeper.is_valid(fresh)


async def test_an_older_fence_is_not_valid_and_its_end_does_not_drop_the_newer_one():
    keeper = LeaseKeeper(RenewingSpool())
    old, new = Lease("a", 1, time.monotonic() + 60), Lease("a", 2, time.monotonic() + 60)
    keeper.take(old)
    keeper.take(new)
    keeper.drop(old)
    assert not keeper.is_valid(old)
    assert keeper.is_valid(new)


async def test_leases_are_renewed_and_lost_ones_become_invalid():
    spool = RenewingSpool()
    keeper = LeaseKeeper(spool)
    kept, lost = Lease("kept", 1, time.monotonic() + 0.02), Lease("lost", 1, time.monotonic() + 60)
    spool.lost.add("lost")
    keeper.take(kept)
    keeper.take(lost)
    running = asyncio.create_task(keeper.run())
    try:
        await until(lambda: not keeper.is_valid(lost))
        assert keeper.is_valid(kept)
        assert len(keeper) == 1
    finally:
        running.cancel()


async def test_a_renewal_that_failed_is_repeated_before_the_next_third_of_the_term():
    class AwayOnce(RenewingSpool):
        lease_seconds = 3.0

        async def renew(self, leases):
            answer = await super().renew(leases)
            if self.renewals == 1:
                raise StoreUnavailable("away")
            return answer

    spool = AwayOnce()
    keeper = LeaseKeeper(spool)
    keeper.take(Lease("a", 1, time.monotonic() + 60))
    pauses = []

    async def sleep(seconds):
        pauses.append(seconds)
        await asyncio.sleep(0)

    running = asyncio.create_task(keeper.run(sleep))
    try:
        await until(lambda: len(pauses) >= 3)
    finally:
        running.cancel()
    assert pauses[:3] == [1.0, 0.25, 1.0]
