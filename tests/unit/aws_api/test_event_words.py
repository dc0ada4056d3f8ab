"""Destinations of events that are behind, in words; and whose figures are read."""

from aws_api.admin.event_words import destination_names, late_destinations
from aws_api.health import judged_health
from config.settings import Settings
from sending_events.configuration_sets.records import ConfigurationSet, EventDestination
from spool.figures import Backlog
from tests.figures_at_rest import SAFE, figures

LATE = figures(backlogs={"file": Backlog(0, 0.0), "orders:shop": Backlog(12, 300.0, "https://inside.example says 500")})


def test_a_destination_that_is_behind_is_told_with_what_to_do():
    [sentence] = late_destinations(LATE)
    assert sentence == (
        "The destination orders:shop has not taken events for 5 min (https://inside.example says 500): repair it, "
        "see events.failed in the workers' log."
    )


def test_what_a_destination_answered_is_not_told_to_everybody():
    [sentence] = late_destinations(LATE, is_public=True)
    assert sentence == "The destination orders:shop is 12 events and 5 min behind: see mailsluice queue."


def test_events_that_wait_are_a_note_and_no_failure():
    health = judged_health(SAFE, LATE, 60.0)
    assert health.is_ok
    assert "orders:shop is 12 events" in " ".join(health.notes)


async def test_the_enabled_destinations_of_all_sets_are_looked_at():
    class Sets:
        async def version(self) -> str:
            return "1"

        async def all(self) -> tuple[ConfigurationSet, ...]:
            made = [
                EventDestination(name, is_enabled=is_enabled, event_types=frozenset(), kind="log", target={})
                for name, is_enabled in (("a", True), ("b", False))
            ]
            return (ConfigurationSet("orders", tuple(made)),)

    assert await destination_names(Settings(), Sets()) == ("file", "orders:a")
