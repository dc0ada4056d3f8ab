"""Who acts and why, for the event of an act; and the telling of that event."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sending_events.operator_acts import SHOWN_IDS, Action, OperatorAct
from spool import operator
from spool.store import Spool


@dataclass(frozen=True, slots=True)
class Who:
    """user@host of a terminal, or "api"."""

    by: str
    why: str = ""


def act_of(
    action: Action,
    who: Who,
    *,
    scope: Sequence[str] = (),
    chosen_by: Mapping[str, Any] | None = None,
    message_ids: Sequence[str] = (),
    counts: Mapping[str, int] | None = None,
    until_ms: int = 0,
) -> bytes:
    """The event of an act that is done now, encoded."""
    act = OperatorAct(
        action=action,
        at_ms=time.time_ns() // 1_000_000,
        by=who.by,
        scope=tuple(scope),
        chosen_by=chosen_by or {},
        message_ids=tuple(message_ids[:SHOWN_IDS]),
        counts=counts or {},
        why=who.why,
        until_ms=until_ms,
    )
    return act.encode()


async def tell(spool: Spool, event: bytes) -> None:
    """Writes the event of an act over many messages, which cannot be one script. Raises StoreUnavailable."""
    await operator.tell(spool.redis, event)
