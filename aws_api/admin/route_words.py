"""Why mail of a route waits and until when, in words: for `queue`, `show`, /healthz and /admin/. Pure.

What keeps a whole route is a fact of the route (spool/sending_quota.py); the first that fits, in this order, is told:
a pause, trouble, the daily quota, the rate.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from aws_api.admin.wording import clock, distance, many
from spool.figures import Figures
from spool.sending_quota import FALLBACK_RATE, LaneView, Pause, RouteLimits, RouteView, Trouble
from spool.states import IDENTITY, UNKNOWN_ANSWER, Place

Kind = Literal["paused", "trouble", "daily quota", "rate"]


@dataclass(frozen=True, slots=True)
class Why:
    """What a lane waits for; `words` follow on "wait for …"."""

    kind: Kind
    words: str


def why(view: RouteView, lane: str, pauses: Sequence[Pause]) -> Why:
    """What mail of this lane waits for now."""
    scopes = ("all", f"route:{view.name}", f"lane:{lane}")
    if found := [one for one in pauses if one.scope in scopes]:
        return Why("paused", f"the end of a pause: {paused(found[0], view.taken_at_ms)}")
    if lane in view.lanes and view.lanes[lane].is_all_paused:
        return Why("paused", f"the end of a pause: {_paused_users(pauses, view.taken_at_ms)}")
    if view.trouble:
        return Why("trouble", f"SES: {troubled(view.trouble, view.taken_at_ms)}")
    if view.daily_ended:
        return Why("daily quota", "daily quota")
    share = view.lanes[lane].share if lane in view.lanes else 100
    if view.sent_last_24_hours >= view.daily_limit * share / 100:
        return Why("daily quota", f"the {share} % of the daily quota that lane {lane} may take")
    return Why("rate", f"their turn at {rate(view.rate * share / 100)}")


def _paused_users(pauses: Sequence[Pause], now_ms: int) -> str:
    """Who of them waits here is not told when there are several."""
    users = [one for one in pauses if one.scope.startswith("user:")]
    return paused(users[0], now_ms) if len(users) == 1 else "their senders are paused"


def lane_words(view: RouteView, lane: str, pauses: Sequence[Pause]) -> str:
    """`412 recipients wait for daily quota; next slot 03:12 UTC; drained by 09:40 UTC at this rate`."""
    seen = view.lanes.get(lane) or LaneView(100)
    cause = why(view, lane, pauses)
    parts = [f"{wait(seen.recipients, 'recipient')} for {cause.words}"]
    slot = seen.next_slot_at_ms or view.next_slot_at_ms
    if cause.kind == "daily quota" and slot:
        parts.append(f"next slot {clock(slot, view.taken_at_ms)}")
    if cause.kind in {"daily quota", "rate"} and seen.drained_at_ms:
        whole_minute_ms = -(-seen.drained_at_ms // 60_000) * 60_000
        parts.append(f"drained by {clock(whole_minute_ms, view.taken_at_ms)} at this rate")
    if seen.paused_senders and not seen.is_all_paused:
        parts.append(f"{many(seen.paused_senders, 'sender')} paused")
    return "; ".join(parts)


def wait(number: int, thing: str) -> str:
    """`412 recipients wait`."""
    return f"{many(number, thing)} {'waits' if number == 1 else 'wait'}"


def rate(recipients_per_second: float) -> str:
    """`13.9 recipients/s`."""
    if math.isinf(recipients_per_second):
        return "no limit of rate"
    return f"{recipients_per_second:,.4g} recipients/s"


def route_words(view: RouteView, limits: RouteLimits) -> str:
    """A route's figures and who told them, in one line."""
    parts = [f"{rate(view.rate)} ({_rate_source(view, limits)}{_factor(view)})"]
    used = f"{view.sent_last_24_hours:,.0f}"
    is_limited = not math.isinf(view.daily_limit)
    limit = f" of {view.daily_limit:,.0f} ({_daily_source(view, limits)})" if is_limited else ", no daily limit"
    noun = "recipient" if used == "1" else "recipients"
    parts.append(f"{used} {noun} in 24 h{limit}")
    if view.quota_error:
        parts.append(f"SES does not tell its limits: {view.quota_error}")
    return "; ".join(parts)


def _rate_source(view: RouteView, limits: RouteLimits) -> str:
    if view.is_fallback:
        return f"assumed, {FALLBACK_RATE:g}/s: set [relay] max_send_rate to what the account has"
    said, cap = view.max_send_rate, limits.max_send_rate
    if cap > 0 and (said is None or said <= 0 or cap < said):
        return f"the operator's cap {cap:g}/s"
    return "SES was not asked yet" if said is None else f"SES says {said:g}/s" if said > 0 else "SES says unlimited"


def _factor(view: RouteView) -> str:
    return f", slowed to {view.factor:.0%} after throttling" if view.factor < 1 else ""


def _daily_source(view: RouteView, limits: RouteLimits) -> str:
    return "the operator's cap" if view.daily_limit == limits.max_24_hour_send else "SES says so"


def troubled(trouble: Trouble, now_ms: int) -> str:
    """What is wrong and when it is tried again."""
    words = f": {trouble.words}" if trouble.words else ""
    since = f"since {clock(trouble.since_ms, now_ms)}"
    if trouble.probe_at_ms > now_ms:
        return f"{trouble.code}{words} ({since}, next probe {distance(trouble.probe_at_ms, now_ms)})"
    return f"{trouble.code}{words} ({since}, the next message is the probe)"


def paused(pause: Pause, now_ms: int) -> str:
    """`lane bulk, until 03:12 UTC, by app@host: why`."""
    until = f"until {clock(pause.until_ms, now_ms)}" if pause.until_ms else "until mailsluice resume"
    by = f", by {pause.by}" if pause.by else ""
    reason = f": {pause.why}" if pause.why else ""
    return f"{scope_words(pause.scope)}, {until}{by}{reason}"


def scope_words(scope: str) -> str:
    """`everything`, `lane bulk`."""
    kind, _, name = scope.partition(":")
    return "everything" if kind == "all" else f"{kind} {name}"


def resume_command(scope: str) -> str:
    """What ends this pause."""
    kind, _, name = scope.partition(":")
    return "mailsluice resume" if kind == "all" else f"mailsluice resume --{kind} {name}"


def troubles(figures: Figures) -> tuple[str, ...]:
    """Routes that send nothing but probes: a failure, a sentence each with what to do."""
    return tuple(_troubles(figures))


def _troubles(figures: Figures) -> Iterator[str]:
    for view in figures.routes:
        if view.trouble is None:
            continue
        said = troubled(view.trouble, figures.taken_at_ms)
        what, do = _TROUBLES[view.trouble.is_account]
        yield f"Route {view.name}: {what}, {said}. {wait(view.waiting_messages, 'message')}: {do}."


#: is_account → what it is, and what to do.
_TROUBLES = {
    True: ("SES refuses the account", "put the account right, then it goes on by itself within five minutes"),
    False: ("SES cannot be reached", "look at endpoint, network and the status of SES; it goes on by itself"),
}


def notes(figures: Figures, *, is_public: bool = False) -> tuple[str, ...]:
    """What keeps mail on purpose or for a while: no failure, but worth saying.

    `is_public`: nobody knows who reads it, so neither users nor domains nor what the operator wrote stand in it.
    """
    return (*_paused(figures, is_public=is_public), *_notes(figures))


def _paused(figures: Figures, *, is_public: bool) -> Iterator[str]:
    for pause in figures.pauses:
        kind = pause.scope.partition(":")[0]
        scope = f"{kind}:(see mailsluice queue)" if is_public and kind in {"user", "domain"} else pause.scope
        shown = Pause(scope, pause.until_ms) if is_public else pause
        command = "" if is_public else f"; {resume_command(scope)} ends it"
        yield f"Paused: {paused(shown, figures.taken_at_ms)}{command}."


def kept(figures: Figures) -> Iterator[str]:
    """Mail that waits for somebody to do something, in numbers; `mailsluice queue` says which and what."""
    if held := figures.places[Place.HELD]:
        yield f"{many(held, 'message')} held, nothing happens to them by itself: see mailsluice queue."
    parked = figures.reasons[Place.PARKED]
    if identity := parked.get(IDENTITY, 0):
        yield f"{wait(identity, 'message')} because SES does not know their sender: verify it in SES."
    unknown = {reason: number for reason, number in parked.items() if reason.startswith(UNKNOWN_ANSWER)}
    for reason, number in sorted(unknown.items()):
        yield f"{wait(number, 'message')}: {reason}; report it."


def _notes(figures: Figures) -> Iterator[str]:
    now_ms = figures.taken_at_ms
    for view in figures.routes:
        if view.daily_ended:
            slot = f", next slot {clock(view.next_slot_at_ms, now_ms)}" if view.next_slot_at_ms else ""
            yield f"Route {view.name}: the daily quota is used up{slot}; {wait(view.waiting_recipients, 'recipient')}."
        if view.is_fallback:
            yield (
                f"Route {view.name}: SES does not tell the account's limits ({view.quota_error or 'not asked yet'}), "
                f"{FALLBACK_RATE:g} recipients/s are assumed: allow ses:GetSendQuota, or set max_send_rate."
            )
    for name in sorted(figures.draining):
        yield f"Worker {name} is being drained; mailsluice drain {name} --undo ends that."
