import random

from bench.chaos_troubles import EPISODES, FAULTS, Tempo, Troubles
from simulator.faults import KINDS


class FakeLine:
    """Remembers what the simulator would be told."""

    def __init__(self):
        self.told = []

    def fault(self, kind, **fields):
        self.told.append(("fault", kind))

    def no_faults(self):
        self.told.append(("no faults",))

    def http(self, method, path, body=None):
        self.told.append((method, path, body))
        return b'{"calls": 3, "recipients": 7}'


def some_troubles():
    line = FakeLine()
    return line, Troubles(line, random.Random(3), Tempo(pause=(1, 1), episode=(1, 1)))


def test_every_trouble_has_its_turn_before_one_comes_again():
    _, troubles = some_troubles()
    for now in range(len(FAULTS) + 2 * len(EPISODES)):
        troubles.look(now)
    assert troubles.counts == dict.fromkeys([*FAULTS, *EPISODES], 1)


def test_an_episode_ends_before_the_next_trouble_begins():
    line, troubles = some_troubles()
    for now in range(2 * len(EPISODES)):
        troubles.look(now)
    assert line.told.index(("PUT", "/pause", {"state": "paused"})) + 1 == line.told.index(
        ("PUT", "/pause", {"state": "running"})
    )
    settings = [one[2] for one in line.told if one[:2] == ("PUT", "/settings")]
    assert settings == [{"max_24_hour_send": 7}, {"max_24_hour_send": 1_000_000_000}]


def test_at_the_end_ses_is_well():
    line, troubles = some_troubles()
    troubles.look(0)
    begun = len(line.told)
    troubles.stop()
    assert len(line.told) > begun
    assert line.told[-1] == ("no faults",)
    troubles.look(1000)
    assert line.told[-1] == ("no faults",)


def test_the_simulator_knows_every_fault():
    assert set(FAULTS) <= set(KINDS)
