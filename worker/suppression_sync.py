"""The account's own suppression list and ours, compared now and then by one worker of all.

Theory of operation
1. A look reads the account's whole list, page by page. What is new there comes in, with the source `ses`; what it had
   when it was looked at before and has no more goes: entries that came from there, and with `both` all that were seen
   there. With `both` the rest of ours is put there, and what was removed here is removed there.
2. What was put there a moment ago may not be in its pages yet, so only what was not seen for a minute counts as gone.
3. When most of the list is gone at once, it is rather another account or region: nothing is removed here for that.
Crash at any point: every step is done again by the next look, and none of them does more when it is done twice. Only
the account of the first route is looked at.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final, Protocol

from redis import exceptions

from config.aws_clients import BotoErrors, ses_account_client, trouble_of
from config.errors import TryLater
from config.settings import RouteSettings
from spool import keys, scripts
from spool.suppression import Entry, NewEntry, Suppression
from worker.relay.credentials import NoCredentials, source_for
from worker.relay.endpoint import region_of
from worker.tools import Tools

#: Not seen for so long = gone.
UNSEEN_MS: Final = 60_000
#: Fewer than these are believed to have been removed by somebody, however much of the list they are.
_BELIEVED: Final = 100
_PAGE: Final = 1000
#: Addresses that one look puts there, and as many that it removes there; the next look goes on.
_TOLD_AT_ONCE: Final = 1000
_NOT_TAKEN_REMEMBERED: Final = 10_000
_LONGEST_WAIT_SECONDS: Final = 30.0
_LOCK: Final = keys.lock_key("suppression-sync")


class AccountList(Protocol):
    """The account's list as SES has it. Every call may raise AccountAway."""

    def pages(self) -> AsyncIterator[Sequence[NewEntry]]:
        """All of it."""
        ...

    async def put(self, entry: Entry) -> bool:
        """Suppresses an address there; False for one that SES does not take."""
        ...

    async def delete(self, address: str) -> None:
        """Forgets an address there; one that is not there is done."""
        ...


class AccountAway(TryLater):
    """SES did not answer, or refused."""


OpenList = Callable[[], AbstractAsyncContextManager[AccountList]]


class SuppressionSync:
    """Compares until it is cancelled."""

    def __init__(
        self, tools: Tools, suppression: Suppression, open_list: OpenList | None = None, *, unseen_ms: int = UNSEEN_MS
    ) -> None:
        self._tools = tools
        self._suppression = suppression
        self._settings = tools.settings.suppression
        self._open_list = open_list or (lambda: account_list(next(iter(tools.settings.routes_by_name.values()))))
        self._unseen_ms = unseen_ms
        self._trouble = ""
        #: Addresses that SES did not take; what is not told there is not missed there either.
        self._not_taken: set[str] = set()

    async def run(self) -> None:
        """For ever; of all workers one looks at a time."""
        wait_seconds = min(self._settings.sync_seconds / 2, _LONGEST_WAIT_SECONDS)
        while True:
            await asyncio.sleep(wait_seconds * self._tools.chance())
            try:
                if await self._is_our_turn():
                    await self.look()
            except (TryLater, exceptions.RedisError, OSError) as error:
                self._tell_trouble(error)
            await asyncio.sleep(wait_seconds)

    async def look(self) -> None:
        """Compares once. Raises AccountAway, StoreUnavailable."""
        suppression, is_both = self._suppression, self._settings.sync == "both"
        began_at_ms = await suppression.now_ms()
        if not is_both:
            await suppression.forget_removals()
        entered = told = forgotten = 0
        async with self._open_list() as account:
            async for page in account.pages():
                entered += await suppression.found_there(page)
            removed = await self._removed(began_at_ms - self._unseen_ms)
            if is_both:
                forgotten = await self._forgotten(account)
                told = await self._told(account)
        self._trouble = ""
        if entered or removed or told or forgotten:
            self._tools.log.info(
                "suppression.synced", entered=entered, removed=removed, put_there=told, removed_there=forgotten
            )

    async def _is_our_turn(self) -> bool:
        distance_ms = int(self._settings.sync_seconds * 1000)
        taken = self._suppression.redis.set(_LOCK, self._tools.worker, nx=True, px=distance_ms)
        return bool(await scripts.answer_of(taken))

    async def _removed(self, since_ms: int) -> int:
        """Removes here what is gone there; how many."""
        unseen, known = await self._suppression.unseen_there(since_ms)
        if unseen > _BELIEVED and 2 * unseen > known:
            self._tools.log.warning("suppression.sync_doubtful", gone=unseen, known=known)
            await self._suppression.forget_there()
            return 0
        only_from_there = self._settings.sync == "pull"
        return await self._suppression.remove_unseen(since_ms, only_from_there=only_from_there)

    async def _forgotten(self, account: AccountList) -> int:
        addresses = await self._suppression.removed_here(_TOLD_AT_ONCE)
        for address in addresses:
            await account.delete(address)
            await self._suppression.forgotten_there([address])
        return len(addresses)

    async def _told(self, account: AccountList) -> int:
        calls, told, after = 0, 0, None
        while True:
            page = await self._suppression.page(after=after, limit=_PAGE)
            for entry in await self._suppression.not_there(page.entries):
                if entry.address in self._not_taken:
                    continue
                if calls >= _TOLD_AT_ONCE:
                    return told
                calls += 1
                if await account.put(entry):
                    await self._suppression.told_there([entry.address])
                    told += 1
                else:
                    self._note_not_taken(entry.address)
            after = page.after
            if after is None:
                return told

    def _note_not_taken(self, address: str) -> None:
        """It stays suppressed here, and is not offered again by this process."""
        if len(self._not_taken) >= _NOT_TAKEN_REMEMBERED:
            self._not_taken.clear()
        self._not_taken.add(address)
        self._tools.log.info("suppression.not_taken_there", addresses=len(self._not_taken))

    def _tell_trouble(self, error: Exception) -> None:
        """A line for each change."""
        words = f"{error.reason}: {error.detail}" if isinstance(error, TryLater) else str(error)
        if words != self._trouble:
            self._trouble = words
            self._tools.log.warning("suppression.sync_failed", error=words)


class _SesList:
    """SES v2's operations on it."""

    def __init__(self, client: Any) -> None:
        self._client = client

    async def pages(self) -> AsyncIterator[Sequence[NewEntry]]:
        token: dict[str, str] = {}
        while True:
            answer = await self._call("list_suppressed_destinations", PageSize=_PAGE, **token)
            yield [_entry_of(one) for one in answer.get("SuppressedDestinationSummaries", ())]
            if not answer.get("NextToken"):
                return
            token = {"NextToken": answer["NextToken"]}

    async def put(self, entry: Entry) -> bool:
        answer = await self._call(
            "put_suppressed_destination",
            EmailAddress=entry.address,
            Reason=entry.reason,
            may_fail_with="BadRequestException",
        )
        return answer is not None

    async def delete(self, address: str) -> None:
        await self._call("delete_suppressed_destination", EmailAddress=address, may_fail_with="NotFoundException")

    async def _call(self, operation: str, *, may_fail_with: str = "", **parameters: Any) -> Any:
        try:
            return await getattr(self._client, operation)(**parameters)
        except BotoErrors as error:
            trouble = trouble_of(error)
            if may_fail_with and trouble.code == may_fail_with:
                return None
            raise AccountAway(f"{operation}: {trouble.code}", detail=trouble.detail) from error


def _entry_of(summary: dict[str, Any]) -> NewEntry:
    at_ms = int(summary["LastUpdateTime"].timestamp() * 1000)
    return NewEntry(summary["EmailAddress"], summary["Reason"], "ses", at_ms)


@asynccontextmanager
async def account_list(route: RouteSettings) -> AsyncIterator[AccountList]:
    """The list of a route's account, with the route's region, credentials and endpoint. Raises AccountAway."""
    try:
        region = region_of(route.region, route.profile)
        credentials = await source_for(route, region).current()
    except (NoCredentials, *BotoErrors) as error:
        raise AccountAway("no credentials", detail=str(error)) from error
    client = ses_account_client(
        region,
        access_key_id=credentials.access_key,
        secret_access_key=credentials.secret_key,
        session_token=credentials.token,
        endpoint_url=route.endpoint_url,
    )
    async with client as opened:
        yield _SesList(opened)
