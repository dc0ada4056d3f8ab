"""The addresses of the mailbox simulator."""

import pytest

from simulator.mailbox import Happening, Kind, happenings, is_simulated


@pytest.mark.parametrize("address", ["success@", "BOUNCE@", "complaint+a@", "ooto+b+c@", "suppressionlist@"])
def test_its_addresses_are_known_with_and_without_a_label(address):
    assert is_simulated(f"{address}simulator.amazonses.com")
    assert is_simulated(f"{address}SIMULATOR.amazonses.com")


@pytest.mark.parametrize(
    "address", ["bounce@example.com", "other@simulator.amazonses.com", "bounce@x.simulator.amazonses.com", "bounce", ""]
)
def test_other_addresses_are_not(address):
    assert not is_simulated(address)


def test_every_recipient_has_its_fate_and_each_kind_is_told_once():
    local_parts = ("success", "bounce+1", "bounce+2", "complaint", "ooto", "suppressionlist")
    success, bounce_1, bounce_2, complaint, ooto, suppressed = to = [
        f"{local}@simulator.amazonses.com" for local in local_parts
    ]
    assert list(happenings([*to, "ann@example.com"])) == [
        Happening(Kind.SEND, (*to, "ann@example.com")),
        Happening(Kind.DELIVERY, (success, complaint, ooto, "ann@example.com")),
        Happening(Kind.BOUNCE, (bounce_1, bounce_2)),
        Happening(Kind.SUPPRESSED, (suppressed,)),
        Happening(Kind.COMPLAINT, (complaint,)),
    ]


def test_what_befalls_nobody_is_not_told():
    assert [happening.kind for happening in happenings(["bounce@simulator.amazonses.com"])] == [Kind.SEND, Kind.BOUNCE]
