"""The suppression list on a server: what enters it, what leaves it, how it is listed, and the account's own list."""

import asyncio

import pytest

from spool.store import Spool
from spool.suppression import LOOK_SECONDS, Entry, NewEntry, Suppression, address_key, is_address

AT_MS = 1_700_000_000_000


@pytest.fixture
def suppression(spool: Spool) -> Suppression:
    return Suppression(spool.redis)


def new(address: str, reason: str = "BOUNCE", source: str = "operator", **more: object) -> NewEntry:
    return NewEntry(address, reason, source, **more)


async def test_an_address_is_compared_without_regard_to_case(suppression):
    assert await suppression.enter("Bob@Example.NET", "BOUNCE", at_ms=AT_MS, message_id="m1", feedback_id="f1")
    assert await suppression.get("bob@example.net") == Entry(
        "bob@example.net", "BOUNCE", "feedback", AT_MS, "m1", "f1", 0
    )
    assert await suppression.among(("BOB@EXAMPLE.net", "other@example.net", "no address")) == {
        "BOB@EXAMPLE.net": await suppression.get("bob@example.net")
    }


async def test_the_same_news_twice_change_nothing(suppression):
    assert await suppression.enter("bob@example.net", "BOUNCE", at_ms=AT_MS, feedback_id="f1")
    before = await suppression.get("bob@example.net")
    assert not await suppression.enter("bob@example.net", "BOUNCE", at_ms=AT_MS, feedback_id="f1")
    assert await suppression.get("bob@example.net") == before
    assert len((await suppression.page()).entries) == 1


async def test_a_complaint_stays_one_and_older_news_do_not_make_it_younger(suppression):
    await suppression.enter("bob@example.net", "COMPLAINT", at_ms=AT_MS, feedback_id="late")
    await suppression.enter("bob@example.net", "BOUNCE", at_ms=AT_MS - 5000, feedback_id="early")
    entry = await suppression.get("bob@example.net")
    assert (entry.reason, entry.at_ms, entry.feedback_id) == ("COMPLAINT", AT_MS, "late")
    await suppression.enter("bob@example.net", "BOUNCE", at_ms=AT_MS + 5000, feedback_id="later")
    entry = await suppression.get("bob@example.net")
    assert (entry.reason, entry.at_ms, entry.feedback_id) == ("COMPLAINT", AT_MS + 5000, "later")


async def test_an_order_replaces_what_was_known(suppression):
    await suppression.enter("bob@example.net", "COMPLAINT", at_ms=AT_MS)
    assert await suppression.put([new("bob@example.net")]) == 0
    entry = await suppression.get("bob@example.net")
    assert (entry.reason, entry.source) == ("BOUNCE", "operator")
    assert entry.at_ms > AT_MS


async def test_removing_tells_who_was_there(suppression):
    await suppression.put([new("a@example.net"), new("b@example.net")])
    assert await suppression.remove(["A@example.net", "c@example.net"]) == [True, False]
    assert await suppression.get("a@example.net") is None
    assert [one.address for one in (await suppression.page()).entries] == ["b@example.net"]


async def test_an_entry_does_not_count_after_its_end_and_is_tidied(suppression):
    await suppression.enter("short@example.net", "BOUNCE", keep_seconds=0.001)
    await suppression.enter("long@example.net", "BOUNCE", keep_seconds=3600)
    await suppression.enter("ever@example.net", "BOUNCE")
    async with asyncio.timeout(60):
        while await suppression.get("short@example.net"):
            await asyncio.sleep(0.002)
    assert {one.address for one in (await suppression.page()).entries} == {"long@example.net", "ever@example.net"}
    assert await suppression.tidy() == 1
    assert await suppression.tidy() == 0
    assert await suppression.redis.hlen("{ms}:suppressed") == 2


async def test_news_without_an_end_take_the_end_away(suppression):
    await suppression.enter("bob@example.net", "BOUNCE", keep_seconds=3600)
    assert (await suppression.get("bob@example.net")).ends_at_ms
    await suppression.enter("bob@example.net", "BOUNCE")
    assert (await suppression.get("bob@example.net")).ends_at_ms == 0
    assert await suppression.redis.zcard("{ms}:suppressed-ends") == 0


async def test_the_list_comes_in_pages_by_time_and_then_by_address(suppression):
    entries = [new(f"r{number:04}@example.net", at_ms=AT_MS + number // 400) for number in range(1200)]
    assert await suppression.put(entries) == 1200
    found, after, pages = [], None, 0
    while True:
        page = await suppression.page(after=after, limit=250)
        found += [one.address for one in page.entries]
        pages += 1
        after = page.after
        if after is None:
            break
    assert found == [one.address for one in entries]
    assert pages in {5, 6}


async def test_a_page_goes_on_although_its_last_entry_has_gone(suppression):
    await suppression.put([new(f"r{number}@example.net", at_ms=AT_MS) for number in range(6)])
    page = await suppression.page(limit=3)
    await suppression.remove(["r2@example.net"])
    rest = await suppression.page(after=page.after, limit=10)
    assert [one.address for one in rest.entries] == ["r3@example.net", "r4@example.net", "r5@example.net"]
    assert rest.after is None


async def test_the_list_is_filtered_by_reason_and_time(suppression):
    await suppression.put(
        [
            new("a@example.net", at_ms=AT_MS),
            new("b@example.net", "COMPLAINT", at_ms=AT_MS + 10),
            new("c@example.net", at_ms=AT_MS + 20),
        ]
    )

    async def addresses(**filters: object) -> list[str]:
        return [one.address[0] for one in (await suppression.page(**filters)).entries]

    assert await addresses(reasons=("COMPLAINT",)) == ["b"]
    assert await addresses(reasons=("COMPLAINT", "BOUNCE")) == ["a", "b", "c"]
    assert await addresses(start_ms=AT_MS + 10) == ["b", "c"]
    assert await addresses(end_ms=AT_MS + 10) == ["a", "b"]
    assert await addresses(start_ms=AT_MS + 1, end_ms=AT_MS + 19) == ["b"]


async def test_an_empty_list_is_asked_about_once_a_second(spool):
    now = [100.0]
    suppression = Suppression(spool.redis, clock=lambda: now[0])
    assert not suppression.is_known_empty
    assert await suppression.is_empty()
    assert suppression.is_known_empty
    await Suppression(spool.redis).enter("bob@example.net", "BOUNCE")  # another process
    now[0] += LOOK_SECONDS / 2
    assert await suppression.is_empty()
    now[0] += LOOK_SECONDS / 2
    assert not suppression.is_known_empty
    assert not any(await asyncio.gather(suppression.is_empty(), suppression.is_empty()))


async def test_who_enters_an_address_knows_at_once_that_the_list_is_not_empty(suppression):
    assert await suppression.is_empty()
    await suppression.enter("bob@example.net", "BOUNCE")
    assert not await suppression.is_empty()


async def test_what_the_account_has_comes_in_and_what_it_loses_goes(suppression):
    await suppression.put([new("ours@example.net")])
    assert await suppression.found_there([new("theirs@example.net", source="ses"), new("ours@example.net")]) == 1
    assert await suppression.not_there((await suppression.page()).entries) == ()
    later_ms = await suppression.now_ms() + 1
    assert await suppression.unseen_there(later_ms) == (2, 2)
    assert await suppression.remove_unseen(later_ms, only_from_there=True) == 1
    assert [one.address for one in (await suppression.page()).entries] == ["ours@example.net"]
    assert [one.address for one in await suppression.not_there((await suppression.page()).entries)] == [
        "ours@example.net"
    ]


async def test_what_is_removed_here_does_not_come_back_until_it_is_removed_there(suppression):
    await suppression.found_there([new("theirs@example.net", source="ses")])
    assert await suppression.remove(["theirs@example.net"]) == [True]
    assert await suppression.removed_here(10) == ("theirs@example.net",)
    assert await suppression.found_there([new("theirs@example.net", source="ses")]) == 0
    await suppression.forgotten_there(["theirs@example.net"])
    assert await suppression.removed_here(10) == ()
    assert await suppression.found_there([new("theirs@example.net", source="ses")]) == 1


async def test_the_account_is_told_again_when_the_reason_changes(suppression):
    await suppression.put([new("bob@example.net")])
    await suppression.told_there(["bob@example.net"])
    entries = (await suppression.page()).entries
    assert await suppression.not_there(entries) == ()
    await suppression.put([new("bob@example.net", "COMPLAINT")])
    assert len(await suppression.not_there(entries)) == 1


def test_what_is_no_address_has_no_key():
    assert [address_key(one) for one in ("", "bob", "@example.net", "bob@", "b\nb@example.net", "\ud800@e.net")] == [
        ""
    ] * 6
    assert address_key(" Bob@Bücher.Example ") == "bob@xn--bcher-kva.example"


@pytest.mark.parametrize(
    "text",
    [
        "ann@example.net",
        " Ann+x@Example.NET ",
        '"a b"@example.net',
        "jörg@bücher.example",
        "a@[192.0.2.1]",
        "a@[IPv6:::1]",
    ],
)
def test_an_address_alone_may_be_entered(text):
    assert is_address(text)


@pytest.mark.parametrize(
    "text",
    [
        "Ann <ann@example.net>",
        "<ann@example.net>",
        "ann@example.com>",
        "a b@example.net",
        "a@b@example.net",
        "a,b@example.net",
        "ann@example.net, bob@example.net",
        "mailto:ann@example.net",
        "ann@exam ple.net",
        "ann",
        "",
    ],
)
def test_what_is_more_than_an_address_may_not(text):
    assert not is_address(text)
