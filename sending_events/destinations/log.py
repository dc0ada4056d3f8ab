"""Destination `log`: one line of the ordinary log for each event. Addresses appear at level debug only."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import orjson
from structlog.typing import FilteringBoundLogger

from config.logs import get_log
from sending_events.records import EVENT_TYPES

_OBJECT_NAMES = dict(EVENT_TYPES.values())
# Lines between two looks at the event loop: about two milliseconds.
_LINES_AT_ONCE = 50


class LogDestination:
    """Never fails, never refuses: a log that cannot be written is no reason to keep events back."""

    name = "log"

    def __init__(self, log: FilteringBoundLogger | None = None) -> None:
        self._log = log or get_log()

    async def take(self, records: Sequence[bytes]) -> None:
        with_addresses = self._log.is_enabled_for(logging.DEBUG)
        for number, record in enumerate(records, 1):
            self._log.info("event", **_fields(orjson.loads(record), with_addresses=with_addresses))
            if number % _LINES_AT_ONCE == 0:
                await asyncio.sleep(0)


def _fields(event: dict[str, Any], *, with_addresses: bool) -> dict[str, Any]:
    mail = event["mail"]
    message_id = mail["tags"]["sluice:message-id"][0]
    fields = {
        "type": event["eventType"],
        "event_id": event["eventId"],
        "message_id": message_id,
        "ses_message_id": "" if mail["messageId"] == message_id else mail["messageId"],
        "recipients": len(mail["destination"]),
        "reason": event[_OBJECT_NAMES[event["eventType"]]].get("reason", ""),
    }
    if with_addresses:
        fields |= {"sender": mail["source"], "addresses": mail["destination"]}
    return fields
