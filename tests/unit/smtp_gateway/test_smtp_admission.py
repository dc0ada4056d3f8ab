"""Who may come in and how much."""

import ipaddress

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from smtp_gateway.admission import Connections, MemoryBudget, Networks, Reservation
from smtp_gateway.replies import Reply
from spool.sender_patterns import may_send_as


def networks(*texts: str) -> Networks:
    return Networks(ipaddress.ip_network(text) for text in texts)


def test_only_addresses_of_the_networks_are_allowed():
    allowed = networks("127.0.0.0/8", "::1/128", "10.1.0.0/16")
    assert all(allowed.has(one) for one in ("127.0.0.1", "::1", "10.1.2.3", "::ffff:10.1.2.3"))
    assert not any(allowed.has(one) for one in ("10.2.0.1", "::2", "", "unknown", "::ffff:10.2.0.1", "fe80::1%eth0"))


def test_a_flood_of_addresses_does_not_pile_up():
    allowed = networks("10.0.0.0/8")
    for number in range(30_000):
        assert allowed.has(str(ipaddress.IPv4Address(0x0A000000 + number)))
    assert len(allowed._known) <= 10_000


def test_connections_are_limited_in_all_and_per_address():
    connections = Connections(most=3, most_per_address=2)
    assert connections.enter("a") is None
    assert connections.enter("a") is None
    assert connections.enter("a") is Reply.TOO_MANY_CONNECTIONS_FROM_YOU
    assert connections.enter("b") is None
    assert connections.enter("c") is Reply.TOO_MANY_CONNECTIONS
    connections.leave("a")
    assert connections.enter("c") is None
    for one in ("a", "b", "c"):
        connections.leave(one)
    assert connections.open == 0
    assert not connections._per_address


class BudgetMachine(RuleBasedStateMachine):
    """The used bytes are always the sum of the parts, and never more than the budget."""

    def __init__(self) -> None:
        super().__init__()
        self.budget = MemoryBudget(1000)
        self.parts = [Reservation(self.budget) for _ in range(4)]

    @rule(index=st.integers(0, 3), size=st.integers(0, 700))
    def hold(self, index: int, size: int) -> None:
        part = self.parts[index]
        before = part.bytes
        others = self.budget.used_bytes - before
        is_held = part.hold(size)
        assert is_held == (size <= before or others + size <= 1000)
        assert part.bytes == (size if is_held else before)

    @rule(index=st.integers(0, 3))
    def release(self, index: int) -> None:
        self.parts[index].release()
        self.parts[index].release()

    @invariant()
    def adds_up(self) -> None:
        assert self.budget.used_bytes == sum(part.bytes for part in self.parts) <= 1000


TestMemoryBudgetNeverLeaks = BudgetMachine.TestCase


@given(st.text("ab.@*", max_size=8))
def test_a_star_allows_everything_and_no_pattern_allows_nothing(sender: str):
    assert may_send_as(sender, ["*"])
    assert not may_send_as(sender, [])


def test_patterns_cover_what_they_say():
    assert may_send_as("a@B.example", ["b.example"])
    assert not may_send_as("a@x.b.example", ["b.example"])
    assert may_send_as("a@x.b.example", ["*.b.example"])
    assert not may_send_as("a@b.example", ["*.b.example"])
    assert not may_send_as("a@evilb.example", ["*.b.example", "b.example"])
    assert may_send_as("A@b.example", ["a@b.example"])
    assert not may_send_as("xa@b.example", ["a@b.example"])


def test_the_null_sender_needs_the_star():
    assert may_send_as("", ["b.example", "*"])
    assert not may_send_as("", ["b.example", "*.b.example", "a@b.example"])
