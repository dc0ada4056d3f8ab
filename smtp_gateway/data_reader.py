r"""Reads a message after DATA, in chunks as they come from the socket. Pure: bytes in, bytes out.

Theory of operation
1. One search for CRLF.CRLF in each chunk. What may be the beginning of it at the end of a chunk (at most four bytes)
   is carried into the next one, so it is found wherever the chunks are cut. The message starts as if CRLF had come
   before it: the empty message and a dot on the first line need no case of their own, and this CRLF becomes the end
   of the Received line that is put on top.
2. No piece ends with CR: counting CR, LF and CRLF in each piece finds every bare CR or LF (SMTP smuggling).
3. Lines are measured by jumps of one limit: the last LF in the window of limit + 2 bytes ends a line that fits.
4. Un-stuffing (RFC 5321 section 4.5.2) is one replacement, made only where CRLF. occurs.
5. After the first fault nothing is kept, but everything is read to the end: a refusal in mid-DATA would make the
   client's remaining lines commands.
Memory: one growing buffer with our Received line in front, whatever sizes the chunks have. The content is that buffer
itself, not a copy (BytesIO.getvalue shares it), so there is never more than one limit's worth. The buffer reserves up
to an eighth more while it grows.
"""

from io import BytesIO

from smtp_gateway.replies import Reply

END = b"\r\n.\r\n"
_BEGINNINGS = (b"\r\n.\r", b"\r\n.", b"\r\n", b"\r")


class DataReader:
    """One message. Feed it until it returns what follows the end; then look at `fault` or take `content`."""

    def __init__(self, *, max_message_bytes: int, max_line_bytes: int, received_line: bytes = b"") -> None:
        self._max_bytes = max_message_bytes
        self._window = max_line_bytes + 2
        self._carry = b"\r\n"
        self._content = BytesIO()
        self._content.write(received_line)
        self._before_bytes = len(received_line) + 2  # with the CRLF that came before the message
        self._open_line_bytes = 0
        #: Why the message is refused; the first reason stays.
        self.fault: Reply | None = None

    def feed(self, chunk: bytes) -> bytes | None:
        """None = more is needed; else the bytes behind the final dot (the next commands)."""
        data = self._carry + chunk
        at = data.find(END)
        if at >= 0:
            self._take(data[: at + 2])
            self._carry = b""
            return data[at + 5 :]
        self._carry = next((end for end in _BEGINNINGS if data.endswith(end)), b"")
        self._take(data[: len(data) - len(self._carry)])
        return None

    @property
    def kept_bytes(self) -> int:
        """Bytes of the message that are in memory."""
        return max(0, self._content.tell() - self._before_bytes)

    def refuse(self, reason: Reply) -> None:
        """Keeps nothing from now on; the client is told the reason after the final dot."""
        self.fault = self.fault or reason
        self._content = BytesIO()

    def content(self) -> bytes:
        """The whole message below the Received line; nothing when it was refused."""
        return self._content.getvalue()

    def _take(self, piece: bytes) -> None:
        if self.fault or not piece:
            return
        newlines = piece.count(b"\n")
        if piece.count(b"\r") != newlines or piece.count(b"\r\n") != newlines:
            self.refuse(Reply.BARE_CR_OR_LF)
            return
        if not self._lines_fit(piece):
            self.refuse(Reply.LINE_TOO_LONG)
            return
        if b"\r\n." in piece:
            piece = piece.replace(b"\r\n.", b"\r\n")
        self._content.write(piece)
        if self.kept_bytes > self._max_bytes:
            self.refuse(Reply.TOO_LARGE)

    def _lines_fit(self, piece: bytes) -> bool:
        start = -self._open_line_bytes
        while start + self._window < len(piece):
            newline = piece.rfind(b"\n", max(start, 0), max(start + self._window, 0))
            if newline < 0:
                return False
            start = newline + 1
        last = piece.rfind(b"\n")
        self._open_line_bytes = len(piece) - last - 1 if last >= 0 else self._open_line_bytes + len(piece)
        return True
