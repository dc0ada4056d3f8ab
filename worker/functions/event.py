"""The event that a function gets about a message: WorkMail's Run Lambda event, version 2018-10-10, key by key.

`mailFrom` is the From address, the owner of the mail, and not the envelope sender; `sender` stands there only when
header Sender names somebody else, who sends on the owner's behalf. Without a usable From the envelope sender takes
its place, which is "" for the null sender. An event is never larger than 128 KB: its list of recipients is cut, and
`truncated` says so. The answer may then leave out recipients that the function never saw: they get the fallback.
"""

from collections.abc import Sequence
from typing import Any

import orjson

from spool.records import Message
from spool.verdicts import Direction
from worker.rules.facts import Facts

MAX_EVENT_BYTES = 128 * 1024
MAX_SUBJECT_CHARACTERS = 256
SUMMARY_VERSION = "2018-10-10"
# What is longer is no address (RFC 5321 section 4.5.3.1), and would leave no room for recipients.
_MAX_ADDRESS_CHARACTERS = 320


def event_of(
    facts: Facts, message: Message, recipients: Sequence[str], *, direction: Direction, invocation_id: str
) -> bytes:
    """The event as JSON, about these recipients of the message."""
    owner = _first_usable(facts.from_addresses)
    sender = _first_usable(facts.sender_addresses)
    unique: dict[str, str] = {}
    for address in recipients:
        unique.setdefault(address.lower(), address)
    event: dict[str, Any] = {
        "summaryVersion": SUMMARY_VERSION,
        "envelope": {"mailFrom": {"address": owner or _clean(message.sender)}, "recipients": []},
        "sender": {"address": sender},
        "subject": _clean(facts.subject)[:MAX_SUBJECT_CHARACTERS],
        "messageId": message.message_id,
        "invocationId": invocation_id,
        "flowDirection": direction,
        "truncated": False,
    }
    if not sender or sender.lower() == owner.lower():
        del event["sender"]
    entries = [{"address": _clean(address)} for address in unique.values()]
    fitting = _fitting(entries, MAX_EVENT_BYTES - len(orjson.dumps(event)))
    event["envelope"]["recipients"] = entries[:fitting]
    event["truncated"] = fitting < len(entries)
    return orjson.dumps(event)


def _fitting(entries: Sequence[dict[str, str]], room_bytes: int) -> int:
    """How many entries fit, with a comma each. `true` is a byte shorter than the `false` that was counted."""
    for number, entry in enumerate(entries):
        room_bytes -= len(orjson.dumps(entry)) + 1
        if room_bytes < 0:
            return number
    return len(entries)


def _first_usable(addresses: Sequence[str]) -> str:
    return next((_clean(one) for one in addresses if 0 < len(one) <= _MAX_ADDRESS_CHARACTERS), "")


def _clean(text: str) -> str:
    """Text that JSON can hold: half characters become a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")
