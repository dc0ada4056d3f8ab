"""What the operator of the simulator chooses: where it listens, and how the simulated account behaves.

`CHANGEABLE` is the table of those that may be changed while it runs (PUT /settings), with what each allows. A change
is all or nothing and makes a new value; nobody sees half of one.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

MEBIBYTE = 1024 * 1024
DAY_SECONDS = 24 * 60 * 60
#: what a new account may send until it is let out of the sandbox
SANDBOX_SEND_RATE = 1.0
SANDBOX_24_HOUR_SEND = 200.0

ACCOUNT_STATES = ("running", "paused", "paused_by_aws", "suspended")
HEADER_RECIPIENT_POLICIES = ("ignore", "count")


@dataclass(frozen=True, slots=True)
class SimulatorSettings:
    """One simulated SES account and where it listens."""

    host: str = "127.0.0.1"
    port: int = 2581
    #: recipients per second; 0 = unlimited (in the sandbox: what a sandbox has)
    max_send_rate: float = 0.0
    #: recipients per rolling 24 hours; -1 = unlimited (in the sandbox: what a sandbox has)
    max_24_hour_send: float = -1.0
    #: added before every answer to a send, accepted or refused
    latency_seconds: float = 0.0
    #: a new account: senders and recipients must be verified
    sandbox: bool = False
    #: addresses and domains; outside the sandbox they bind senders alone, and none there = every sender is verified
    verified_identities: Sequence[str] = ()
    #: who stopped sending, one of ACCOUNT_STATES
    account_state: str = "running"
    #: the sets that exist; none = every name exists
    configuration_sets: Sequence[str] = ()
    paused_configuration_sets: Sequence[str] = ()
    #: whether more than 50 addresses in To, Cc and Bcc refuse a call that names its recipients itself
    header_recipients: str = "ignore"
    #: whether a line of more than 998 bytes refuses the message
    refuse_long_lines: bool = False
    #: whether GetSendQuota and GetAccount are forbidden, as by an IAM policy
    quota_forbidden: bool = False
    #: whether the credentials of every caller have expired
    expired_token: bool = False
    #: recipients that other senders of the account sent within the window
    others_sent: int = 0
    #: recipients per second that other senders of the account send all the time
    others_per_second: float = 0.0
    #: length of the rolling window of the daily quota; shorter, so that tests see its end
    window_seconds: float = DAY_SECONDS
    #: whether calls leave events
    events: bool = True
    #: an event can be read so long after its call was accepted
    events_delay_seconds: float = 0.0
    #: whether GET /events and ReceiveMessage answer 503
    events_unavailable: bool = False
    #: whether the queue `ses-events` gets bare events instead of SNS's envelopes
    events_raw: bool = False
    #: where POST /save writes; nothing is ever written without that request
    data_dir: Path | None = None
    #: raw messages are kept up to this many bytes together, the newest win
    kept_message_bytes: int = 256 * MEBIBYTE
    #: ledger lines are kept up to this many, the newest win
    kept_ledger_lines: int = 1_000_000
    #: events are kept up to this many bytes together, the newest win
    kept_event_bytes: int = 128 * MEBIBYTE
    #: a larger request is refused with 413 while it is being read
    max_request_bytes: int = 60 * MEBIBYTE

    @property
    def sending_rate(self) -> float:
        """Recipients per second that the account really has; 0 = unlimited."""
        return SANDBOX_SEND_RATE if self.sandbox and self.max_send_rate == 0 else self.max_send_rate

    @property
    def daily_quota(self) -> float:
        """Recipients per window that the account really has; -1 = unlimited."""
        return SANDBOX_24_HOUR_SEND if self.sandbox and self.max_24_hour_send < 0 else self.max_24_hour_send


class WrongSettingError(ValueError):
    """A change of the settings is wrong; the text says what is allowed."""


def _number(lowest: float, highest: float = math.inf) -> tuple[Callable[[object], bool], str]:
    def is_allowed(value: object) -> bool:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and lowest <= value <= highest

    return is_allowed, f"a number from {lowest:g} to {highest:g}"


def _one_of(names: tuple[str, ...]) -> tuple[Callable[[object], bool], str]:
    return (lambda value: value in names), f"one of {', '.join(names)}"


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_list_of_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) and name for name in value)


_SWITCH: tuple[Callable[[object], bool], str] = (lambda value: isinstance(value, bool)), "true or false"
_NAMES = _is_list_of_names, "a list of names"

#: setting: (is it allowed, what is)
CHANGEABLE: Mapping[str, tuple[Callable[[object], bool], str]] = {
    "max_send_rate": _number(0),
    "max_24_hour_send": _number(-1),
    "latency_seconds": _number(0, 3600),
    "sandbox": _SWITCH,
    "verified_identities": _NAMES,
    "account_state": _one_of(ACCOUNT_STATES),
    "configuration_sets": _NAMES,
    "paused_configuration_sets": _NAMES,
    "header_recipients": _one_of(HEADER_RECIPIENT_POLICIES),
    "refuse_long_lines": _SWITCH,
    "quota_forbidden": _SWITCH,
    "expired_token": _SWITCH,
    "others_sent": (_is_whole, "a number of recipients"),
    "others_per_second": _number(0),
    "window_seconds": _number(0.1, DAY_SECONDS),
    "events": _SWITCH,
    "events_delay_seconds": _number(0, DAY_SECONDS),
    "events_unavailable": _SWITCH,
    "events_raw": _SWITCH,
}


def changeable(settings: SimulatorSettings) -> dict[str, object]:
    """What PUT /settings may change, with its value now."""
    values = {name: getattr(settings, name) for name in CHANGEABLE}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def changed(settings: SimulatorSettings, asked: object) -> SimulatorSettings:
    """The settings with what was asked for, an object of parsed JSON; raises `WrongSettingError`."""
    if not isinstance(asked, dict):
        raise WrongSettingError("Send an object.")
    for name, value in asked.items():
        if name not in CHANGEABLE:
            raise WrongSettingError(f"{name} is not known or cannot be changed; these can: {', '.join(CHANGEABLE)}.")
        is_allowed, allowed = CHANGEABLE[name]
        if not is_allowed(value):
            raise WrongSettingError(f"{name} must be {allowed}.")
    return replace(settings, **asked)
