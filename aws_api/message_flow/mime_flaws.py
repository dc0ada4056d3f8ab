"""What is wrong with the MIME structure of a message: broken multiparts, and attachments that SES does not take.

Theory of operation
1. One way through the bytes, from one line that begins with `--` to the next; a stack holds the multiparts that are
   open, a table their boundaries. Nothing is read again for the sake of nesting, so the time does not grow with it.
2. A delimiter of an outer multipart ends the inner ones; those that were not closed before are flaws.
3. The header section of a part is read when its delimiter is met, and never more than its bound.
4. Nesting, parts and lines that could be delimiters are bounded. What lies behind a bound is not looked at, and that
   there is something is a flaw itself.
A message inside the message (message/rfc822) is an attachment; its own structure is its sender's affair.
A flaw has a key that is the same for the same flaw in another version of the message.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from aws_api.message_flow.content_fields import main_value, parameter, parameters
from aws_api.message_flow.header_fields import HeaderSection, comparable, read_header_section
from aws_api.message_flow.unsupported_attachments import unsupported_extension

MAX_NESTING = 100
#: WorkMail takes 500 attachments; the rest is room for what they are wrapped in.
MAX_PARTS = 1500
MAX_PART_HEADER_BYTES = 8 * 1024
#: Lines that begin with `--` inside a multipart, an SQL dump's comments among them.
MAX_DASHED_LINES = 200_000
#: RFC 2046 says 70; programs write more.
MAX_BOUNDARY_BYTES = 250
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Flaw:
    """`key` tells whether two versions have the same flaw; `words` are safe to tell, and are about `position`."""

    key: tuple[str, str]
    position: int
    words: str


@dataclass(frozen=True, slots=True)
class _Open:
    """A multipart whose end was not met yet."""

    boundary: bytes
    #: Where its header says so, for the line number.
    position: int


def mime_flaws(content: bytes, section: HeaderSection) -> Iterator[Flaw]:
    """Every flaw, in the order of the message; lines end with CRLF."""
    return _Walk(content).flaws(section)


class _Walk:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self._open: list[_Open] = []
        self._depth_of: dict[bytes, int] = {}
        self._met: set[bytes] = set()

    def flaws(self, section: HeaderSection) -> Iterator[Flaw]:
        yield from self._begin_entity(section, 0)
        position, dashed_lines, parts = section.body - 1, 0, 0
        while self._open and (position := self._content.find(b"\n--", max(position, 0))) >= 0:
            dashed_lines += 1
            boundary, is_end = self._delimiter(position + 3)
            position += 3
            if boundary is None:
                if dashed_lines > MAX_DASHED_LINES:
                    yield Flaw(("dashed lines", ""), position, f"more than {MAX_DASHED_LINES} lines begin with --")
                    return
                continue
            yield from self._end_inner(boundary)
            if is_end:
                del self._depth_of[self._open.pop().boundary]
                continue
            parts += 1
            if parts > MAX_PARTS:
                yield Flaw(("parts", ""), position, f"more than {MAX_PARTS} parts")
                return
            start = self._content.find(b"\n", position) + 1 or len(self._content)
            part = read_header_section(self._content, start, start + MAX_PART_HEADER_BYTES)
            yield from self._begin_entity(part, start)
            position = max(start, part.body) - 1
        while self._open:
            yield self._unclosed(self._open.pop())

    def _delimiter(self, start: int) -> tuple[bytes | None, bool]:
        """The open boundary that the line names, and whether it ends the multipart; None = it is an ordinary line."""
        line = self._content[start : start + MAX_BOUNDARY_BYTES + 4].partition(b"\r")[0].rstrip(b" \t")
        if line in self._depth_of:
            return line, False
        if line.endswith(b"--") and line[:-2] in self._depth_of:
            return line[:-2], True
        return None, False

    def _end_inner(self, boundary: bytes) -> Iterator[Flaw]:
        self._met.add(boundary)
        while self._open[-1].boundary != boundary:
            inner = self._open.pop()
            del self._depth_of[inner.boundary]
            yield self._unclosed(inner)

    def _begin_entity(self, section: HeaderSection, start: int) -> Iterator[Flaw]:
        kind, disposition = section.first(b"content-type"), section.first(b"content-disposition")
        if main_value(kind).startswith("multipart/"):
            yield from self._begin_multipart(kind, start)
            return
        for name in {parameter(disposition, "filename"), parameter(kind, "name")}:
            if extension := unsupported_extension(name):
                words = f"the attachment {shown_text(name)} is of a type that SES does not take (.{extension})"
                yield Flaw(("attachment", name.lower()), start, words)

    def _begin_multipart(self, kind: bytes, start: int) -> Iterator[Flaw]:
        plain = parameters(kind).get("boundary") or parameter(kind, "boundary").encode("utf-8", "surrogateescape")
        boundary = plain.rstrip(b" \t")
        if not boundary or len(boundary) > MAX_BOUNDARY_BYTES:
            yield Flaw(("no boundary", comparable(kind)), start, "the multipart declares no usable boundary")
        elif boundary in self._depth_of:
            words = f"the multipart has the boundary {_shown(boundary)} of one around it"
            yield Flaw(("boundary twice", boundary.decode("latin-1")), start, words)
        elif len(self._open) >= MAX_NESTING:
            yield Flaw(("nesting", ""), start, f"multiparts are nested more than {MAX_NESTING} deep")
        else:
            self._depth_of[boundary] = len(self._open)
            self._open.append(_Open(boundary, start))

    def _unclosed(self, multipart: _Open) -> Flaw:
        what = "is not closed" if multipart.boundary in self._met else "does not occur"
        words = f"the boundary {_shown(multipart.boundary)} of the multipart {what}"
        return Flaw((what, multipart.boundary.decode("latin-1")), multipart.position, words)


def _shown(boundary: bytes) -> str:
    return shown_text(boundary.decode("utf-8", "replace"))


def shown_text(text: str) -> str:
    """A text of the message for the caller's eyes: short, printable."""
    printable = "".join(sign if sign.isprintable() else "?" for sign in text[:_SHOWN])
    return f'"{printable}{"…" if len(text) > _SHOWN else ""}"'
