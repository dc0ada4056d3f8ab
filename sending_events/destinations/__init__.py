"""The kinds of destinations: one file each, one row each."""

from collections.abc import Callable

from config.settings import Settings
from sending_events.destinations.destination import Destination
from sending_events.destinations.file import FileDestination
from sending_events.destinations.log import LogDestination

# kind → how it is made of the settings. `[events] destinations` names these.
DESTINATIONS: dict[str, Callable[[Settings], Destination]] = {
    "file": lambda settings: FileDestination(settings.events_file),
    "log": lambda _: LogDestination(),
}


def open_destinations(settings: Settings) -> dict[str, Destination]:
    """The destinations that the settings name, by name."""
    return {kind: DESTINATIONS[kind](settings) for kind in settings.events.destinations}
