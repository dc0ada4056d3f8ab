"""The header section of a message as its sender wrote it, for events. Pure.

The spool keeps no copy of it while the content is in Redis: a script cuts the beginning off when it is asked for. A
content that is stored elsewhere leaves its beginning in the message (field `h`), and a finished message leaves it in a
key of its own, for a while. It begins with our own Received line, which is no header of the sender's.
"""

#: Of events (SES developer guide: "headersTruncated").
MAX_HEADERS_BYTES = 10 * 1024
#: As in lua/prelude.lua: that, and our Received line.
HEAD_BYTES = MAX_HEADERS_BYTES + 1024

_END = b"\r\n\r\n"


def head_of(content: bytes) -> bytes:
    """The beginning of a content, as the scripts cut it."""
    end = content.find(_END, 0, HEAD_BYTES)
    return content[: end + 2] if end >= 0 else content[:HEAD_BYTES]


def sent_headers(head: bytes, message_id: str) -> tuple[bytes, bool]:
    """The sender's header section of a `head_of`, and whether it was longer: then it ends with a whole field."""
    section = head[_own_received_bytes(head, message_id) :]
    if section.startswith(b"\r\n"):  # no header at all
        return b"", False
    if len(head) < HEAD_BYTES and len(section) <= MAX_HEADERS_BYTES:
        return section, False
    end = MAX_HEADERS_BYTES
    while end > 0:
        end = section.rfind(b"\r\n", 0, end)
        if end >= 0 and section[end + 2 : end + 3] not in {b" ", b"\t", b""}:
            return section[: end + 2], True
    return b"", True


def _own_received_bytes(head: bytes, message_id: str) -> int:
    """How long the Received line is that a door of ours put on top; 0 without one."""
    if not head.startswith(b"Received: "):
        return 0
    end = head.find(b"\r\n")
    while end >= 0 and head[end + 2 : end + 3] in {b" ", b"\t"}:
        end = head.find(b"\r\n", end + 2)
    is_ours = end >= 0 and b"id " + message_id.encode() in head[:end]
    return end + 2 if is_ours else 0
