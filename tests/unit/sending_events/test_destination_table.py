"""The table of destinations and the settings that name them."""

import pytest

from config.settings import EventsSettings, Settings
from sending_events.destinations import DESTINATIONS, open_destinations
from sending_events.progress import LONGEST_PAUSE_MS, pause_ms


def test_every_kind_has_its_own_name():
    assert {kind: make(Settings()).name for kind, make in DESTINATIONS.items()} == {kind: kind for kind in DESTINATIONS}


def test_every_kind_may_be_named_in_the_settings():
    assert tuple(EventsSettings(destinations=tuple(DESTINATIONS)).destinations) == tuple(DESTINATIONS)


def test_only_the_named_kinds_are_opened():
    assert list(open_destinations(Settings(events=EventsSettings(destinations=("log",))))) == ["log"]


@pytest.mark.parametrize(("failures", "seconds"), [(1, 1), (2, 2), (3, 4), (8, 128), (9, 256), (10, 300), (1000, 300)])
def test_pauses_grow_to_five_minutes(failures, seconds):
    assert pause_ms(failures) == seconds * 1000


def test_a_pause_that_was_asked_for_is_kept_when_it_is_longer():
    assert pause_ms(1, 30.0) == 30_000
    assert pause_ms(5, 1.0) == 16_000
    assert pause_ms(1, 86400.0) == LONGEST_PAUSE_MS
