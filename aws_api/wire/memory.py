"""Bytes of unfinished requests, bounded for the whole process: beyond the budget a request is answered "later".

A request counts several times what it sends, because its body, what is decoded from it and the message made of that
are there at once. One request alone is always let in, however small the budget, or it could never be carried out.
"""

from typing import Final

from aws_api.wire.failures import OperationRefused

#: The body as it came, its fields, without escapes, decoded, and as a message; measured with forms.
COPIES: Final = 5


class MemoryBudget:
    """Bytes of all requests together."""

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self.used_bytes = 0

    def may_hold(self, held_bytes: int, more_bytes: int) -> bool:
        """Whether who holds so many may hold so many more."""
        return held_bytes == self.used_bytes or self.used_bytes + more_bytes <= self.total_bytes


class Reservation:
    """One request's part of the budget. Every end of it calls `release`, which may be called again."""

    __slots__ = ("_budget", "bytes")

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self.bytes = 0

    def hold_body(self, body_bytes: int) -> None:
        """Makes this part large enough for a body of so many bytes, never smaller. Raises OperationRefused."""
        more = COPIES * body_bytes - self.bytes
        if more <= 0:
            return
        if not self._budget.may_hold(self.bytes, more):
            raise OperationRefused("ServiceUnavailableException", "Too much unfinished mail, try again later.")
        self._budget.used_bytes += more
        self.bytes += more

    def part(self, wanted_bytes: int) -> "Reservation":
        """So much of it as a reservation of its own, for what outlives the request."""
        taken = Reservation(self._budget)
        taken.bytes = min(wanted_bytes, self.bytes)
        self.bytes -= taken.bytes
        return taken

    def release(self) -> None:
        """Gives everything back."""
        self._budget.used_bytes -= self.bytes
        self.bytes = 0
