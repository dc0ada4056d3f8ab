"""Destinations of events that are behind, in words: for `queue`, /healthz and /admin/; and whose figures are read."""

from collections.abc import Iterator

from aws_api.admin.wording import many, span
from config.settings import Settings
from sending_events.registry import Sets, interests
from spool.figures import Figures

#: A destination that is this far behind is worth a line.
LATE_EVENTS_SECONDS = 60


async def destination_names(settings: Settings, sets: Sets) -> tuple[str, ...]:
    """Every destination that is told of events, those of the settings first. Raises TryLater."""
    return tuple(interests(settings.events.destinations, await sets.all()))


def late_destinations(figures: Figures, *, is_public: bool = False) -> Iterator[str]:
    """A sentence for each destination that has not taken events for long, with what to do.

    `is_public`: nobody knows who reads it, so what the destination answered does not stand in it.
    """
    for name, backlog in figures.backlogs.items():
        if backlog.oldest_seconds <= LATE_EVENTS_SECONDS:
            continue
        if is_public:
            behind = f"{many(backlog.events, 'event')} and {span(backlog.oldest_seconds)} behind"
            yield f"The destination {name} is {behind}: see mailsluice queue."
            continue
        error = f" ({backlog.error})" if backlog.error else ""
        yield (
            f"The destination {name} has not taken events for {span(backlog.oldest_seconds)}{error}: repair it, "
            "see events.failed in the workers' log."
        )
