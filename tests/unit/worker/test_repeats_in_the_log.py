from worker.repeats import Repeats


def test_a_thing_is_told_once_or_once_in_a_while():
    repeats = Repeats()
    assert [repeats.is_due("a", at_ms) for at_ms in (0, 1, 10**12)] == [True, False, False]
    assert [repeats.is_due("b", at_ms, every_seconds=60) for at_ms in (0, 59_999, 60_000)] == [True, False, True]


def test_names_from_outside_do_not_fill_the_memory():
    repeats = Repeats()
    assert sum(repeats.is_due(str(number), 0) for number in range(5000)) == 1000
    assert repeats.is_due("0", 60_000, every_seconds=60)
