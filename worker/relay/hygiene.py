"""What SES would refuse or misread in a message, mended on raw bytes; each mending is a setting, off by default.

`relay.empty_headers`, `duplicate_headers`, `from_aliases`, `long_headers`, `long_lines`, in this order. What no setting
asks for stays to the byte, and a message that needs nothing comes back as the same object, after a few linear searches
of its header section. What is not understood stays as it is: SES may still refuse it, but nobody gets a mail that
nobody wrote. All patterns are linear, for any input.
"""

import re
from collections.abc import Iterable, Mapping, Sequence

from config.settings import RelaySettings
from spool.header_addresses import Mailbox, mailboxes
from worker.relay.long_lines import has_long_line, wrapped
from worker.relay.mime import header_end

MAX_HEADER_ADDRESSES = 50
UNDISCLOSED = b"undisclosed-recipients:;"

# Developer guide, "Amazon SES header fields": those that may occur once, lower case.
ONCE_ONLY = frozenset(
    (
        b"accept-language", b"acceptlanguage", b"archived-at", b"auto-submitted", b"bounces-to", b"comments",
        b"content-alternative", b"content-base", b"content-class", b"content-description", b"content-disposition",
        b"content-duration", b"content-id", b"content-language", b"content-length", b"content-location",
        b"content-md5", b"content-transfer-encoding", b"content-type", b"date", b"delivered-to",
        b"disposition-notification-options", b"disposition-notification-to", b"dkim-signature",
        b"domainkey-signature", b"errors-to", b"from", b"importance", b"in-reply-to", b"keywords", b"list-archive",
        b"list-help", b"list-id", b"list-owner", b"list-post", b"list-subscribe", b"list-unsubscribe",
        b"list-unsubscribe-post", b"message-context", b"message-id", b"mime-version", b"organization",
        b"original-from", b"original-message-id", b"original-recipient", b"original-subject", b"precedence",
        b"priority", b"references", b"reply-to", b"return-path", b"return-receipt-to", b"sender", b"sensitivity",
        b"solicitation", b"subject", b"thread-index", b"thread-topic", b"user-agent", b"vbr-info",
    )
)  # fmt: skip

# A header with all its continuation lines. The value's last line end is not part of the value.
_REST = rb"[ \t]*:([^\n]*(?:\n[ \t][^\n]*)*)(?:\n|\Z)"
_EMPTY_NAME = re.compile(rb"(?m)^" + _REST.removeprefix(rb"[ \t]*"))
_ANY = re.compile(rb"(?m)^([!-9;-~]+)" + _REST)
_NAME = re.compile(rb"(?m)^([!-9;-~]+)[ \t]*:")
_ORIGINATORS = re.compile(rb"(?im)^(from|sender)" + _REST)
_RECIPIENTS = re.compile(rb"(?im)^(to|cc)" + _REST)


def cleaned(
    content: bytes, batch_recipients: Sequence[str], settings: RelaySettings, *, rewrite_long: bool = False
) -> bytes:
    """The content for this batch; `rewrite_long` asks for `long_headers = rewrite`, whatever the setting says."""
    is_rewriting = rewrite_long or settings.long_headers == "rewrite"
    is_mending = settings.empty_headers != "keep" or settings.duplicate_headers != "keep"
    if is_rewriting or is_mending or settings.from_aliases:
        head = mended = content[: header_end(content)]
        if settings.empty_headers == "remove":
            mended = _without_empty_names(mended)
        if settings.duplicate_headers == "first":
            mended = _without_duplicates(mended)
        if settings.from_aliases:
            mended = _with_aliases(mended, settings)
        if is_rewriting:
            mended = _naming_only(mended, batch_recipients)
        if mended != head:
            content = mended + content[len(head) :]
    if settings.long_lines == "wrap" and has_long_line(content):
        content = wrapped(content)
    return content


def alias_of(address: str, settings: RelaySettings) -> str:
    """What takes the place of a From address or an envelope sender; itself when the table has no row for it."""
    return settings.from_aliases.get(address.lower(), address) if settings.from_aliases else address


def _without_empty_names(head: bytes) -> bytes:
    return _EMPTY_NAME.sub(b"", head) if _EMPTY_NAME.search(head) else head


def _without_duplicates(head: bytes) -> bytes:
    """The first of each of ONCE_ONLY stays."""
    once = [name for name in (written.lower() for written in _NAME.findall(head)) if name in ONCE_ONLY]
    seen: set[bytes] = set()
    if len(once) == len(set(once)):
        return head

    def kept(field: re.Match[bytes]) -> bytes:
        name = field[1].lower()
        if name in seen:
            return b""
        if name in ONCE_ONLY:
            seen.add(name)
        return field[0]

    return _ANY.sub(kept, head)


def _with_aliases(head: bytes, settings: RelaySettings) -> bytes:
    """From and Sender: SES asks for both to be verified. Names and everything around the addresses stay."""

    def renamed(field: re.Match[bytes]) -> bytes:
        value, shift = field[2], 0
        for one in mailboxes(field[2]):
            address = one.address.decode("latin-1")
            alias = alias_of(address, settings)
            if alias != address and one.start >= 0:
                new = alias.encode("ascii")
                value = value[: one.start + shift] + new + value[one.end + shift :]
                shift += len(new) - len(one.address)
        start, end = (place - field.start() for place in field.span(2))
        return field[0][:start] + value + field[0][end:]

    return _ORIGINATORS.sub(renamed, head)


def _naming_only(head: bytes, batch_recipients: Iterable[str]) -> bytes:
    """To and Cc with too many addresses name those of the batch; every address once."""
    fields = list(_RECIPIENTS.finditer(head))
    if sum(field[2].count(b"@") for field in fields) <= MAX_HEADER_ADDRESSES:
        return head
    boxes = {field.start(): mailboxes(field[2]) for field in fields}
    if sum(map(len, boxes.values())) <= MAX_HEADER_ADDRESSES:
        return head
    wanted = {address.lower().encode("utf-8", "replace") for address in batch_recipients}
    named: dict[bytes, list[bytes]] = {}
    for field in sorted(fields, key=lambda one: one[1].lower(), reverse=True):  # To first: it wins an address
        named.setdefault(field[1].lower(), []).extend(_taken(boxes[field.start()], wanted))
    return _RECIPIENTS.sub(_Rewriter(named), head)


def _taken(boxes: Iterable[Mailbox], wanted: set[bytes]) -> list[bytes]:
    """The wanted ones as they are written, which are wanted no more then."""
    taken = []
    for one in boxes:
        if (address := one.address.lower()) in wanted:
            wanted.remove(address)
            taken.append(one.named)
    return taken


class _Rewriter:
    """Puts the new lists into the first To and the first Cc, and nothing into the others.

    Where nobody of the batch is in To it says so as mail programs do: SES asks for a To header.
    """

    def __init__(self, named: Mapping[bytes, Sequence[bytes]]) -> None:
        self._rest = dict(named)
        self._takes_nobody = b"to" if b"to" in named else b"cc"

    def __call__(self, field: re.Match[bytes]) -> bytes:
        kind = field[1].lower()
        line_end = b"\n" if field[0].endswith(b"\n") and not field[0].endswith(b"\r\n") else b"\r\n"
        if kind not in self._rest:
            return b""
        if names := self._rest.pop(kind):
            return field[1] + b": " + (b"," + line_end + b" ").join(names) + line_end
        return b"To: " + UNDISCLOSED + line_end if kind == self._takes_nobody else b""
