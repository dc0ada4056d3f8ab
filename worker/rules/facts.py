"""What rules and functions can ask about a message. Every answer is made when it is asked for, and once.

Any bytes have an answer: what cannot be understood is missing, cut or taken as it is written, never an exception.
The work is bounded: of a header section the first megabyte is read, of a name the first 100 headers, of a value
64 KiB, of address lists ten headers and of each 10,000 bytes; attachments.py bounds the rest. Times are linear in what
is read.
"""

import ipaddress
import re
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from spool.header_addresses import mailboxes
from spool.header_text import text_of
from spool.records import Message
from worker.relay.mime import header_end
from worker.rules.attachments import Attachments, attachments_of

MAX_HEAD_BYTES = 1024 * 1024
MAX_HEADERS_OF_A_NAME = 100
MAX_VALUE_BYTES = 64 * 1024
_MAX_LIST_BYTES = 10_000
_MAX_LISTS = 10

_FIELD = re.compile(rb"(?m)^([!-9;-~]++)[ \t]*+:([^\n]*+(?:\n[ \t][^\n]*+)*+)")

T = TypeVar("T")


class _Once(Generic[T]):
    """A property that is computed once, without a lock.

    functools.cached_property of Python 3.11 holds one lock for the facts of all messages while it computes: the event
    loop would wait for a thread that looks at a large message.
    """

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self._compute, self._name, self.__doc__ = compute, compute.__name__, compute.__doc__

    def __get__(self, facts: Any, _: type | None = None) -> T:
        found = facts.__dict__[self._name] = self._compute(facts)
        return found


class Facts:
    """About one message: its envelope and how it came as the spool has them, the rest from its content."""

    def __init__(self, message: Message, content: bytes) -> None:
        self._message = message
        self._content = content
        self._texts: dict[str, tuple[str, ...]] = {}
        self._folded: dict[str, tuple[str, ...]] = {}

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

    @_Once
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

    def folded_headers(self, name: str) -> tuple[str, ...]:
        """The same for comparing without regard to case."""
        if name not in self._folded:
            self._folded[name] = _folded(self.headers(name))
        return self._folded[name]

    @_Once
    def folded_subject(self) -> tuple[str, ...]:
        """The first one as it is compared; none without one."""
        return self.folded_headers("Subject")[:1]

    @_Once
    def folded_user(self) -> tuple[str, ...]:
        """The user as it is compared."""
        return _folded((self.user,))

    @_Once
    def folded_attachment_names(self) -> tuple[str, ...]:
        """The file names as they are compared."""
        return _folded(self.attachment_names)

    @_Once
    def sender_addresses(self) -> tuple[str, ...]:
        """The addresses in Sender, as they are written."""
        return self._addresses("sender")

    @_Once
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

    @property
    def has_unread_attachments(self) -> bool:
        """Whether there is more about files than could be read: any name may be among it."""
        return self._attachments.is_cut

    @_Once
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

    @_Once
    def _fields(self) -> dict[bytes, list[bytes]]:
        """Name in lower case → values as they are written."""
        head = self._content[:MAX_HEAD_BYTES]
        found: dict[bytes, list[bytes]] = {}
        for name, value in _FIELD.findall(head[: header_end(head)]):
            values = found.setdefault(name.lower(), [])
            if len(values) < MAX_HEADERS_OF_A_NAME:
                values.append(value)
        return found


def _folded(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(text.casefold() for text in texts)
