"""Who sends mail that bounces or is complained about: figures of each sender, a warning, a pause.

Theory of operation (the scripts are in lua/reputation*.lua)
1. A sender is who takes turns in a lane: its user, else the key of its envelope sender. What became of its recipients
   is counted in slots of 1/24 of the window. A complaint may come after its message is forgotten; the spool remembers
   for ten days which user wrote with an envelope sender.
2. After each note the rates are judged (judged, pure). Few recipients, bounces or complaints say nothing.
3. A pause is that of an operator: the scope user:<sender>, with the figures as its reason. A pause that an operator
   began is left as it is.
4. The pause, its event and the mark that there is one are one script: of many notes side by side one pauses. A mark
   without a pause means that somebody has resumed the sender: its figures begin anew, with what happens from then on,
   and what was judged of the former ones changes nothing any more.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final, Literal

import orjson
from redis import asyncio as aioredis

from config.event_settings import ReputationSettings
from config.logs import get_log
from config.queues import KEY_PREFIX
from spool import operator, scripts
from spool.sending_quota import Pause, sender_key

Level = Literal["well", "warned", "paused"]

#: Who paused it, for the pause and its event.
PAUSED_BY: Final = "reputation"
_SLOTS: Final = 24
#: Hash: sender → JSON of a Standing.
STANDINGS: Final = KEY_PREFIX + "reputation"

_BEFORE: Final = ("prelude", "reputation")
_NOTE = scripts.Script("reputation_note", before=_BEFORE)
_MARK = scripts.Script("reputation_mark", before=_BEFORE)


@dataclass(frozen=True, slots=True)
class SenderFigures:
    """What became of a sender's recipients within the window."""

    delivered: int = 0
    bounced: int = 0
    complained: int = 0

    @property
    def recipients(self) -> int:
        """Those of whom the end is known."""
        return self.delivered + self.bounced

    def percent(self, number: int) -> float:
        """A number of recipients as a rate."""
        return 100 * number / self.recipients if self.recipients else 0.0


@dataclass(frozen=True, slots=True)
class Standing:
    """How a sender stands."""

    sender: str
    level: Level
    figures: SenderFigures
    #: In words, with the figures; "" when it stands well.
    why: str = ""
    #: The server's clock, at the last note; and when a warning is too old to say anything.
    at_ms: int = 0
    ends_at_ms: int = 0


def judged(figures: SenderFigures, settings: ReputationSettings) -> tuple[Level, str]:
    """What the limits say, and why in words."""
    if settings.action == "off" or figures.recipients < settings.min_recipients:
        return "well", ""
    rows = (
        ("bounced", figures.bounced, settings.min_bounces, settings.bounce_warn_percent, settings.bounce_pause_percent),
        (
            "complained",
            figures.complained,
            settings.min_complaints,
            settings.complaint_warn_percent,
            settings.complaint_pause_percent,
        ),
    )
    level: Level = "well"
    whys = []
    for what, number, least, warn_percent, pause_percent in rows:
        rate = figures.percent(number)
        if number < least or rate < min(warn_percent, pause_percent):
            continue
        is_pause = rate >= pause_percent and settings.action == "pause"
        level = "paused" if is_pause or level == "paused" else "warned"
        limit = pause_percent if rate >= pause_percent else warn_percent
        whys.append(f"{number:,} of {figures.recipients:,} recipients {what}: {rate:.2f} %, limit {limit:g} %")
    return level, "; ".join(whys)


class Reputation:
    """Notes what became of recipients, and acts. `act_of` makes the event of a pause (worker/reputation.py)."""

    def __init__(self, redis: aioredis.Redis, settings: ReputationSettings, act_of: Callable[[Pause], bytes]) -> None:
        self.redis = redis
        self._settings = settings
        self._act_of = act_of

    async def note(
        self,
        sender: str,
        *,
        user: str | None,
        delivered: int = 0,
        bounced: int = 0,
        complained: int = 0,
        at_ms: int = 0,
    ) -> Standing | None:
        """What became of so many recipients of a message of this envelope sender; warns of it or pauses it.

        `user` "" = it had none, None = nobody knows any more. `at_ms` 0 = now. None = nobody is watched for it: a
        bounce has no sender. Raises StoreUnavailable; a repeat counts twice.
        """
        key = sender_key(sender) if sender else ""
        if self._settings.action == "off" or not (key or user) or not (delivered or bounced or complained):
            return None
        window_ms = int(self._settings.window_seconds * 1000)
        slot_ms = max(1, window_ms // _SLOTS // 1000) * 1000
        who: list[scripts.Argument] = [user or "", key, int(user is None)]
        numbers = [delivered, bounced, complained, int(at_ms), window_ms, slot_ms]
        name, *told = await _NOTE(self.redis, [*who, *numbers])
        passed, failed, complaints, paused_since_ms, now_ms = (int(one) for one in told)
        figures = SenderFigures(passed, failed, complaints)
        level, why = judged(figures, self._settings)
        if paused_since_ms:
            level = "paused"
        standing = Standing(name.decode(), level, figures, why, now_ms, now_ms + window_ms)
        await self._act(standing)
        return standing

    async def _act(self, standing: Standing) -> None:
        encoded = orjson.dumps(asdict(standing)) if standing.level != "well" else b""
        pause = self._pause_of(standing) if standing.level == "paused" else None
        told = [operator.pause_row(pause), self._act_of(pause)] if pause else []
        is_other = bool(await _MARK(self.redis, [standing.sender, encoded, standing.at_ms, *told]))
        if not is_other:
            return
        figures = asdict(standing.figures)
        match standing.level:
            case "paused":
                get_log().error("reputation.paused", sender=shown(standing.sender), why=standing.why, **figures)
            case "warned":
                get_log().warning("reputation.warned", sender=shown(standing.sender), why=standing.why, **figures)
            case "well":
                get_log().info("reputation.well", sender=shown(standing.sender), **figures)

    def _pause_of(self, standing: Standing) -> Pause:
        until_ms = standing.at_ms + int(self._settings.pause_seconds * 1000) if self._settings.pause_seconds else 0
        return Pause(f"user:{standing.sender}", until_ms, standing.at_ms, standing.why, PAUSED_BY)


def read_standings(rows: Mapping[bytes, bytes], pauses: Sequence[Pause], now_ms: int) -> tuple[Standing, ...]:
    """Senders that are warned of or paused now, the paused ones first, of the hash STANDINGS.

    A pause that was ended does not count, nor does a warning that has grown old.
    """
    paused = {one.scope for one in pauses}
    found = []
    for raw in rows.values():
        values = orjson.loads(raw)
        one = Standing(**{**values, "figures": SenderFigures(**values["figures"])})
        if f"user:{one.sender}" in paused if one.level == "paused" else now_ms < one.ends_at_ms:
            found.append(one)
    return tuple(sorted(found, key=lambda one: (one.level != "paused", one.sender)))


def shown(sender: str) -> str:
    """A sender as the log may tell it: a user by its name, an address by its domain."""
    return "*@" + sender.rpartition("@")[2] if "@" in sender else sender
