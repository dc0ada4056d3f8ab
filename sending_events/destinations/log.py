"""Destination `log`: one line of the ordinary log for each event. Addresses appear at level debug only."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import orjson
from structlog.typing import FilteringBoundLogger

from config.logs import get_log
from sending_events.rendering import OBJECT_NAMES

# Lines between two looks at the event loop: about two milliseconds.
_LINES_AT_ONCE = 50


class LogDestination:
    """Never fails, never refuses: a log that cannot be written is no reason to keep events back."""

    def __init__(self, log: FilteringBoundLogger | None = None, *, name: str = "log") -> None:
        self.name = name
        self._log = log or get_log()

    async def take(self, records: Sequence[bytes]) -> None:
        with_addresses = self._log.is_enabled_for(logging.DEBUG)
        for number, record in enumerate(records, 1):
            self._log.info("event", **_fields(orjson.loads(record), with_addresses=with_addresses))
            if number % _LINES_AT_ONCE == 0:
                await asyncio.sleep(0)


def _fields(event: dict[str, Any], *, with_addresses: bool) -> dict[str, Any]:
    """What SES tells and what an operator did have no reason, or no mail. What has an odd form is as if not there."""
    mail = _members(event.get("mail"))
    tags = _members(mail.get("tags"))
    message_id = _first(tags.get("sluice:message-id")) or mail.get("messageId", "")
    ses_message_id = _first(tags.get("sluice:ses-message-id")) or mail.get("messageId", "")
    destination = mail.get("destination")
    addresses = destination if isinstance(destination, list) else []
    told = _members(event.get(OBJECT_NAMES.get(str(event.get("eventType")), "")))
    fields = {
        "type": event.get("eventType", ""),
        "event_id": event.get("eventId", ""),
        "message_id": message_id,
        "ses_message_id": "" if ses_message_id == message_id else ses_message_id,
        "recipients": len(addresses),
        "reason": told.get("reason", ""),
    }
    if with_addresses:
        fields |= {"sender": mail.get("source", ""), "addresses": addresses}
    return fields


def _members(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _first(values: Any) -> Any:
    return values[0] if isinstance(values, list) and values else ""
