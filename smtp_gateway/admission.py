"""Who may come in, and how much of it: networks, connections, memory. No I/O.

The default lets in the loopback only, so a fresh gateway is never an open relay.
"""

import ipaddress
from collections import Counter
from collections.abc import Iterable

from smtp_gateway.replies import Reply

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Networks:
    """The networks that may submit without a user name; answers are remembered for a while."""

    def __init__(self, networks: Iterable[Network]) -> None:
        self._networks = tuple(networks)
        self._known: dict[str, bool] = {}

    def has(self, address: str) -> bool:
        """Whether a client's address lies in one of them; anything that is no IP address does not."""
        known = self._known.get(address)
        if known is None:
            if len(self._known) >= 10_000:
                self._known.clear()
            known = self._known[address] = self._contains(address)
        return known

    def _contains(self, text: str) -> bool:
        try:
            address = ipaddress.ip_address(text.partition("%")[0])
        except ValueError:
            return False
        mapped = getattr(address, "ipv4_mapped", None)  # ::ffff:192.0.2.1 on a socket for both families
        address = mapped or address
        return any(address in network for network in self._networks if network.version == address.version)


class Connections:
    """Counts open connections, in all and per address."""

    def __init__(self, *, most: int, most_per_address: int) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._per_address: Counter[str] = Counter()
        self.open = 0

    def enter(self, address: str) -> Reply | None:
        """Counts a connection in; a Reply says why it may not stay, and then it is not counted."""
        if self.open >= self._most:
            return Reply.TOO_MANY_CONNECTIONS
        if self._per_address[address] >= self._most_per_address:
            return Reply.TOO_MANY_CONNECTIONS_FROM_YOU
        self.open += 1
        self._per_address[address] += 1
        return None

    def leave(self, address: str) -> None:
        """Counts a connection out that was counted in."""
        self.open -= 1
        self._per_address[address] -= 1
        if self._per_address[address] <= 0:
            del self._per_address[address]  # addresses do not pile up


class MemoryBudget:
    """Bytes of unfinished messages of all sessions together."""

    def __init__(self, total_bytes: int) -> None:
        self.total_bytes = total_bytes
        self.used_bytes = 0

    def has_room_for(self, more_bytes: int) -> bool:
        """Whether so many more would fit now. Nothing is taken."""
        return self.used_bytes + more_bytes <= self.total_bytes


class Reservation:
    """One message's part of the budget. Every end of the message calls `release`, which may be called again."""

    __slots__ = ("_budget", "bytes")

    def __init__(self, budget: MemoryBudget) -> None:
        self._budget = budget
        self.bytes = 0

    def hold(self, total_bytes: int) -> bool:
        """Makes this part so large; False = the budget does not allow it and everything stays as it was."""
        more = total_bytes - self.bytes
        if more > 0 and not self._budget.has_room_for(more):
            return False
        self._budget.used_bytes += more
        self.bytes = total_bytes
        return True

    def release(self) -> None:
        """Gives everything back."""
        self._budget.used_bytes -= self.bytes
        self.bytes = 0
