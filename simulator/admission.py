"""Whether the account takes a well-formed call at all: its state, the configuration set, the identities, in this order.

Texts that are not on record from the real service are marked so; callers should go by the code there.
"""

from collections.abc import Collection, Mapping

from simulator.caller import Caller
from simulator.checks import Envelope
from simulator.identities import unverified
from simulator.refusals import (
    NO_SUCH_SET,
    OWNER_PAUSED,
    PAUSED,
    PAUSED_TEXT,
    REJECTED,
    SET_PAUSED,
    SUSPENDED,
    SUSPENDED_TEXT,
    Refused,
)
from simulator.settings import SimulatorSettings

#: state of the account: (how SES says no, its text, what it means in words)
STATES: Mapping[str, tuple[Refused | None, str]] = {
    "running": (None, "running"),
    "paused": (  # text not on record
        Refused(OWNER_PAUSED, "Email sending is paused for this account."),
        "paused by its owner",
    ),
    "paused_by_aws": (Refused(PAUSED, PAUSED_TEXT), "paused by AWS"),
    "suspended": (Refused(SUSPENDED, SUSPENDED_TEXT), "suspended by AWS"),
}


def admit(settings: SimulatorSettings, envelope: Envelope, caller: Caller, made_sets: Collection[str] = ()) -> None:
    """Return when the account would take the call; raises `Refused`. `made_sets`: those that the API made."""
    refused, _ = STATES[settings.account_state]
    if refused is not None:
        raise Refused(refused.refusal, refused.text)
    _check_configuration_set(settings, envelope.configuration_set, made_sets)
    if settings.sandbox or settings.verified_identities:
        _check_identities(settings, envelope, caller)


def _check_configuration_set(settings: SimulatorSettings, name: str | None, made_sets: Collection[str]) -> None:
    if name is None:
        return
    members = {"ConfigurationSetName": name}
    if settings.configuration_sets and name not in {
        *settings.configuration_sets,
        *made_sets,
    }:  # the angle brackets are SES's
        raise Refused(NO_SUCH_SET, f"Configuration set <{name}> does not exist.", members)
    if name in settings.paused_configuration_sets:  # text not on record
        raise Refused(SET_PAUSED, f"Email sending is paused for configuration set <{name}>.", members)


def _check_identities(settings: SimulatorSettings, envelope: Envelope, caller: Caller) -> None:
    failed = unverified(envelope, settings.verified_identities, has_to_verify_recipients=settings.sandbox)
    if failed:
        raise Refused(
            REJECTED,
            "Email address is not verified. The following identities failed the check in region "
            f"{caller.region.upper()}: {', '.join(failed)}",
        )
