"""Up to when everything was read: never later than what is true, whatever a queue hides."""

from worker.feedback.horizon import Horizon, Quiet


class FakeSpool:
    def __init__(self) -> None:
        self.seen: list[tuple[str, str, int]] = []

    async def feedback_seen(self, source: str, position: str, seen_at_ms: int) -> None:
        self.seen.append((source, position, seen_at_ms))


async def test_the_earliest_of_several_sources_counts_and_none_before_all_have_spoken():
    spool = FakeSpool()
    horizon = Horizon(spool, ["queue", "inbox"])
    await horizon.reached("queue", "", 5000)
    await horizon.reached("inbox", "", 3000)
    await horizon.reached("inbox", "", 9000)
    await horizon.reached("queue", "at 7", 0)
    assert spool.seen == [("inbox", "", 3000), ("inbox", "", 5000), ("queue", "at 7", 5000)]


async def test_what_is_no_source_of_proof_proves_nothing():
    spool = FakeSpool()
    await Horizon(spool, []).reached("inbox", "", 5000)
    assert spool.seen == []


async def test_a_reader_without_work_writes_little():
    spool = FakeSpool()
    horizon = Horizon(spool, ["queue"])
    for at_ms in range(10_000, 14_001, 500):
        await horizon.reached("queue", "", at_ms)
    assert [at_ms for _, _, at_ms in spool.seen] == [10_000, 12_000, 14_000]


def test_an_empty_queue_proves_something_when_it_was_read_as_long_as_a_message_can_hide():
    quiet = Quiet(30_000)
    assert quiet.seen_at_ms(100_000, is_end=True, oldest_sent_at_ms=None) == 0
    assert quiet.seen_at_ms(129_999, is_end=True, oldest_sent_at_ms=129_000) == 0
    assert quiet.seen_at_ms(130_000, is_end=True, oldest_sent_at_ms=None) == 100_000
    assert quiet.seen_at_ms(140_000, is_end=True, oldest_sent_at_ms=None) == 110_000


def test_a_backlog_begins_the_quiet_anew_and_tells_by_its_oldest_message():
    quiet = Quiet(30_000)
    quiet.seen_at_ms(100_000, is_end=True, oldest_sent_at_ms=None)
    assert quiet.seen_at_ms(120_000, is_end=False, oldest_sent_at_ms=90_000) == 0, "not read for long enough"
    assert quiet.seen_at_ms(140_000, is_end=False, oldest_sent_at_ms=110_000) == 80_000
    assert quiet.seen_at_ms(141_000, is_end=False, oldest_sent_at_ms=None) == 0
    assert quiet.seen_at_ms(142_000, is_end=True, oldest_sent_at_ms=141_000) == 0
    assert quiet.seen_at_ms(172_000, is_end=True, oldest_sent_at_ms=None) == 142_000


def test_a_clock_of_the_queue_that_is_ahead_proves_nothing_more():
    quiet = Quiet(30_000)
    quiet.seen_at_ms(0, is_end=False, oldest_sent_at_ms=None)
    assert quiet.seen_at_ms(60_000, is_end=False, oldest_sent_at_ms=90_000) == 30_000


def test_messages_that_were_taken_and_not_applied_begin_the_quiet_anew():
    quiet = Quiet(30_000)
    quiet.seen_at_ms(0, is_end=True, oldest_sent_at_ms=None)
    assert quiet.seen_at_ms(60_000, is_end=True, oldest_sent_at_ms=None) == 30_000
    quiet.disturbed()
    assert quiet.seen_at_ms(61_000, is_end=True, oldest_sent_at_ms=None) == 0
    assert quiet.seen_at_ms(90_999, is_end=False, oldest_sent_at_ms=90_000) == 0, "nor does a backlog tell"
    assert quiet.seen_at_ms(91_000, is_end=False, oldest_sent_at_ms=90_000) == 60_000
