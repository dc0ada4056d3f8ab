"""The account's suppression list and ours become the same, as far as the settings allow."""

import asyncio
import dataclasses
import inspect
from contextlib import asynccontextmanager

import pytest

from spool.store import Spool
from spool.suppression import NewEntry, Suppression
from tests.unit.worker.stand import stand
from worker.suppression_sync import AccountAway, SuppressionSync, _SesList

AT_MS = 1_700_000_000_000


class Account:
    """A list in memory. `errors` are raised first, one for each call."""

    def __init__(self, *addresses: str) -> None:
        self.kept = dict.fromkeys(addresses, "BOUNCE")
        self.errors: list[Exception] = []
        self.calls: list[tuple[str, str]] = []
        self.not_taken: set[str] = set()

    async def pages(self):
        for address, reason in list(self.kept.items()):
            self._fail()
            yield [NewEntry(address, reason, "ses", AT_MS)]

    async def put(self, entry) -> bool:
        self._fail()
        self.calls.append(("put", entry.address))
        if entry.address not in self.not_taken:
            self.kept[entry.address] = entry.reason
        await self.after_put()
        return entry.address in self.kept

    async def after_put(self) -> None:
        """What somebody does at that moment."""

    async def delete(self, address) -> None:
        self._fail()
        self.calls.append(("delete", address))
        self.kept.pop(address, None)

    def _fail(self) -> None:
        if self.errors:
            raise self.errors.pop(0)


@pytest.fixture
def suppression(spool: Spool) -> Suppression:
    return Suppression(spool.redis)


def sync(suppression: Suppression, account: Account, mode: str, *, unseen_ms: int = 0) -> SuppressionSync:
    @asynccontextmanager
    async def opened():
        yield account

    return SuppressionSync(stand(suppression={"sync": mode}), suppression, opened, unseen_ms=unseen_ms)


async def until_later(suppression: Suppression) -> None:
    """Returns in a later millisecond of the server: what was seen before it was seen before the next look."""
    now_ms = await suppression.now_ms()
    while await suppression.now_ms() == now_ms:
        pass


async def ours(suppression: Suppression) -> dict[str, str]:
    return {one.address: one.source for one in (await suppression.page()).entries}


def test_the_fake_has_the_signatures_of_what_it_stands_for():
    for name in ("pages", "put", "delete"):
        fake, real = (inspect.signature(getattr(one, name)) for one in (Account, _SesList))
        assert list(fake.parameters) == list(real.parameters)


async def test_pull_takes_over_what_the_account_has_and_tells_it_nothing(suppression):
    await suppression.enter("ours@example.net", "COMPLAINT")
    account = Account("theirs@example.net")
    await sync(suppression, account, "pull").look()
    assert await ours(suppression) == {"theirs@example.net": "ses", "ours@example.net": "feedback"}
    assert (await suppression.get("theirs@example.net")).at_ms == AT_MS
    assert account.calls == []


async def test_pull_removes_what_is_gone_there_and_came_from_there(suppression):
    await suppression.enter("both@example.net", "BOUNCE")
    account = Account("theirs@example.net", "both@example.net")
    pulling = sync(suppression, account, "pull")
    await pulling.look()
    account.kept.clear()
    await until_later(suppression)
    await pulling.look()
    assert await ours(suppression) == {"both@example.net": "feedback"}


async def test_what_pull_brought_and_somebody_removed_here_comes_back(suppression):
    account = Account("theirs@example.net")
    pulling = sync(suppression, account, "pull")
    await pulling.look()
    await suppression.remove(["theirs@example.net"])
    await pulling.look()
    assert await ours(suppression) == {"theirs@example.net": "ses"}


async def test_both_puts_there_what_is_ours_once(suppression):
    await suppression.put([NewEntry(f"r{number}@example.net", "COMPLAINT", "operator") for number in range(3)])
    account = Account("theirs@example.net")
    both = sync(suppression, account, "both", unseen_ms=60_000)
    await both.look()
    assert account.calls == [("put", f"r{number}@example.net") for number in range(3)]
    assert account.kept["r1@example.net"] == "COMPLAINT"
    await both.look()
    assert len(account.calls) == 3


async def test_both_removes_there_what_is_removed_here(suppression):
    account = Account("theirs@example.net", "other@example.net")
    both = sync(suppression, account, "both")
    await both.look()
    await suppression.remove(["theirs@example.net"])
    await both.look()
    assert account.calls == [("delete", "theirs@example.net")]
    assert await ours(suppression) == {"other@example.net": "ses"}
    await both.look()
    assert len(account.calls) == 1


async def test_both_removes_here_what_is_removed_there(suppression):
    await suppression.put([NewEntry("ours@example.net", "BOUNCE", "api")])
    account = Account()
    both = sync(suppression, account, "both")
    await both.look()
    assert account.kept == {"ours@example.net": "BOUNCE"}
    await both.look()
    account.kept.clear()
    await until_later(suppression)
    await both.look()
    assert await ours(suppression) == {}


async def test_what_was_put_there_a_moment_ago_need_not_be_in_its_pages(suppression):
    await suppression.put([NewEntry("ours@example.net", "BOUNCE", "api")])
    account = Account()
    both = sync(suppression, account, "both", unseen_ms=60_000)
    await both.look()
    account.kept.clear()
    await until_later(suppression)
    await both.look()
    assert await ours(suppression) == {"ours@example.net": "api"}


async def test_nothing_is_removed_when_most_of_the_account_is_gone(suppression):
    account = Account(*(f"r{number}@example.net" for number in range(150)))
    both = sync(suppression, account, "both")
    await both.look()
    account.kept.clear()
    await until_later(suppression)
    await both.look()
    assert len(await ours(suppression)) == 150
    assert len(account.kept) == 150  # another account: it learns what is known here


async def test_what_ses_does_not_take_stays_suppressed_here_and_is_offered_once(suppression):
    await suppression.enter("jörg@example.net", "BOUNCE")
    await suppression.enter("ann@example.net", "BOUNCE")
    account = Account()
    account.not_taken = {"jörg@example.net"}
    both = sync(suppression, account, "both")
    for _ in range(3):
        await both.look()
        await until_later(suppression)
    assert set(await ours(suppression)) == {"jörg@example.net", "ann@example.net"}
    assert account.calls.count(("put", "jörg@example.net")) == 1
    assert set(account.kept) == {"ann@example.net"}


async def test_what_is_removed_here_while_it_is_put_there_is_removed_there_too(suppression):
    await suppression.enter("ann@example.net", "BOUNCE")
    account = Account()

    async def remove() -> None:
        await suppression.remove(["ann@example.net"])

    account.after_put = remove
    both = sync(suppression, account, "both")
    for _ in range(3):
        await both.look()
        await until_later(suppression)
    assert await ours(suppression) == {}
    assert account.kept == {}


async def test_a_look_that_is_cut_off_removes_nothing_and_the_next_goes_on(suppression):
    account = Account("a@example.net", "b@example.net")
    both = sync(suppression, account, "both")
    await both.look()
    account.errors = [AccountAway("list: Throttling")]
    with pytest.raises(AccountAway):
        await both.look()
    assert len(await ours(suppression)) == 2
    await both.look()
    assert len(await ours(suppression)) == 2


async def test_it_runs_on_when_the_account_is_away(suppression, capsys):
    account = Account("theirs@example.net")
    account.errors = [AccountAway("list: Throttling", detail="Rate exceeded")]
    at_once = dataclasses.replace(stand(suppression={"sync": "pull"}), chance=lambda: 0.0)

    @asynccontextmanager
    async def opened():
        yield account

    task = asyncio.create_task(SuppressionSync(at_once, suppression, opened).run())
    async with asyncio.timeout(60):
        while account.errors:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0)
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert "list: Throttling: Rate exceeded" in capsys.readouterr().out
    assert await suppression.is_empty()


async def test_one_worker_at_a_time_has_its_turn(suppression):
    account = Account()
    assert await sync(suppression, account, "pull")._is_our_turn()
    assert not await sync(suppression, account, "pull")._is_our_turn()
