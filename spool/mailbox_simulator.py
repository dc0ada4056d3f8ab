"""SES's mailbox simulator: addresses that exist to try things out with, and that nobody reads.

What becomes of their mail says nothing about anybody: the fence lets them pass, and their bounces and complaints
neither enter the suppression list nor count for their sender's reputation, at SES as here.
"""

from typing import Final

DOMAIN: Final = "simulator.amazonses.com"


def is_simulated(address: str) -> bool:
    """Whether it is one of the mailbox simulator's, with any local part."""
    return address.rpartition("@")[2].strip().lower() == DOMAIN
