"""What rules and functions can ask about a message. Every answer is made when it is asked for, and once.

Any bytes have an answer: what cannot be understood is missing, cut or taken as it is written, never an exception.
The work is bounded: of a header section the first megabyte is read, of a name the first 100 headers, of a value
64 KiB, of address lists ten headers and of each 10,000 bytes; attachments.py bounds the rest. Times are linear in what
is read.
"""

import ipaddress
import re
from functools import cached_property

from spool.records import Message
from worker.relay.header_addresses import mailboxes
from worker.relay.mime import header_end
from worker.rules.attachments import Attachments, attachments_of
from worker.rules.header_text import text_of

MAX_HEAD_BYTES = 1024 * 1024
MAX_HEADERS_OF_A_NAME = 100
MAX_VALUE_BYTES = 64 * 1024
_MAX_LIST_BYTES = 10_000
_MAX_LISTS = 10

_FIELD = re.compile(rb"(?m)^([!-9;-~]++)[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)")


class Facts:
    """About one message: its envelope and how it came as the spool has them, the rest from its content."""

    def __init__(self, message: Message, content: bytes) -> None:
        self._message = message
        self._content = content
        self._texts: dict[str, tuple[str, ...]] = {}

    @property
    def size_bytes(self) -> int:
        """Of the content as accepted."""
        return len(self._content)

    @property
    def user(self) -> str:
        """SMTP user, or ""."""
        return self._message.user

    @property
    def envelope_sender(self) -> str:
        """Of MAIL FROM; empty for the null sender."""
        return self._message.sender

    @cached_property
    def source_ip(self) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
        """Who handed the message in; None when that was nobody with an address."""
        try:
            address = ipaddress.ip_address(self._message.client_address.partition("%")[0])
        except ValueError:
            return None
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        return mapped or address

    @property
    def subject(self) -> str:
        """The first one, decoded; "" without one."""
        return next(iter(self.headers("Subject")), "")

    def headers(self, name: str) -> tuple[str, ...]:
        """The values of every header of this name, from the top, unfolded and decoded."""
        name = name.lower()
        if name not in self._texts:
            self._texts[name] = tuple(text_of(value[:MAX_VALUE_BYTES]) for value in self._raw(name))
        return self._texts[name]

    @cached_property
    def sender_addresses(self) -> tuple[str, ...]:
        """The addresses in Sender, as they are written."""
        return self._addresses("sender")

    @cached_property
    def from_addresses(self) -> tuple[str, ...]:
        """The addresses in From, as they are written."""
        return self._addresses("from")

    @property
    def has_attachments(self) -> bool:
        """Whether a part says that it is one, or has a file name."""
        return self._attachments.is_any

    @property
    def attachment_names(self) -> tuple[str, ...]:
        """The file names of all parts; every one when a part has several."""
        return self._attachments.names

    @cached_property
    def _attachments(self) -> Attachments:
        return attachments_of(self._content)

    def _addresses(self, name: str) -> tuple[str, ...]:
        return tuple(
            box.address.decode("utf-8", "replace")
            for value in self._raw(name)[:_MAX_LISTS]
            for box in mailboxes(value[:_MAX_LIST_BYTES])
            if box.address
        )

    def _raw(self, name: str) -> list[bytes]:
        return self._fields.get(name.encode("utf-8", "replace"), [])

    @cached_property
    def _fields(self) -> dict[bytes, list[bytes]]:
        """Name in lower case → values as they are written."""
        head = self._content[:MAX_HEAD_BYTES]
        found: dict[bytes, list[bytes]] = {}
        for name, value in _FIELD.findall(head[: header_end(head)]):
            values = found.setdefault(name.lower(), [])
            if len(values) < MAX_HEADERS_OF_A_NAME:
                values.append(value)
        return found
