"""What the workers say about their rules, and who waits for functions, in words: for `queue`, /healthz and /admin/.

Pure.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from aws_api.admin.wording import many, span
from spool.figures import Figures
from spool.states import Place, awaited_rule
from spool.waits import Wait

#: Workers that are named in a sentence; all of them are in the figures.
_SHOWN_WORKERS = 5
#: Rules that get a sentence for those who wait for their function; `queue` has a line for each.
_SHOWN_RULES = 5


def versions(figures: Figures) -> Mapping[str, tuple[str, ...]]:
    """Version of the rules → the workers that judge by it; "" = by none."""
    found: dict[str, tuple[str, ...]] = {}
    for worker in figures.workers:
        found[worker.rules_version] = (*found.get(worker.rules_version, ()), worker.name)
    return found


def rule_notes(figures: Figures, *, is_public: bool = False) -> tuple[str, ...]:
    """A sentence with what to do for every mistake that workers found, and for workers that do not agree.

    `is_public`: nobody knows who reads it, so addresses that a mistake quotes are left out.
    """
    found = (*_troubles(figures), *_differences(figures))
    return tuple(without_addresses(one) for one in found) if is_public else found


def function_notes(waits: Sequence[Wait], now_ms: int, *, is_public: bool = False) -> tuple[str, ...]:
    """A sentence for every rule for whose function messages are parked; each waits longer than one try takes.

    The age is that of the oldest message of a window, so it may be too small when many wait. `is_public` as above.
    """
    found = [wait for wait in waits if _is_for_function(wait)]
    sentences = [_awaited(wait, now_ms, is_public=is_public) for wait in found[:_SHOWN_RULES]]
    if others := found[_SHOWN_RULES:]:
        messages = many(sum(wait.messages for wait in others), "message")
        sentences.append(f"{messages} more for those of {many(len(others), 'other rule')}: see mailsluice queue.")
    return tuple(without_addresses(one) if is_public else one for one in sentences)


def awaits_functions(figures: Figures) -> bool:
    """Whether messages are parked until a function is asked."""
    return any(awaited_rule(reason) for reason in figures.reasons[Place.PARKED])


def _is_for_function(wait: Wait) -> bool:
    return wait.place is Place.PARKED and bool(awaited_rule(wait.reason))


def _awaited(wait: Wait, now_ms: int, *, is_public: bool) -> str:
    waits = "waits" if wait.messages == 1 else "wait"
    known = wait.oldest_at_ms is not None
    age = f", the oldest accepted {span((now_ms - (wait.oldest_at_ms or 0)) / 1000)} ago" if known else ""
    where = wait.example if wait.example and not is_public else "ID"
    return (
        f"{many(wait.messages, 'message')} {waits} for the function of rule {awaited_rule(wait.reason)}{age}: "
        f"mailsluice show {where} tells its error and when it is asked again."
    )


def without_addresses(text: str) -> str:
    """The text with `…` for everything that looks like an address."""
    return re.sub(r"[^\s\"'<>,;]++", lambda word: "…" if "@" in word[0] else word[0], text)


def _troubles(figures: Figures) -> Iterator[str]:
    troubled: dict[tuple[str, str], list[str]] = defaultdict(list)
    for worker in figures.workers:
        if worker.rules_trouble:
            troubled[worker.rules_trouble, worker.rules_version].append(worker.name)
    for (trouble, version), names in troubled.items():
        goes_on = "goes on" if len(names) == 1 else "go on"
        yield (
            f"Rules: {_workers(names)} {goes_on} with {version_words(version)}, because the file cannot be used: "
            f"{trouble}. Put it right; mailsluice rules check tells all mistakes."
        )


def _differences(figures: Figures) -> Iterator[str]:
    found = versions(figures)
    if len(found) > 1:
        told = "; ".join(f"{_workers(names)} by {version_words(version)}" for version, names in found.items())
        yield f"Rules: the workers do not judge by the same ones: {told}. Give all of them the same file."


def version_words(version: str) -> str:
    """`version 1f2e3d4c5b6a`."""
    return f"version {version}" if version else "no rules"


def _workers(names: tuple[str, ...] | list[str]) -> str:
    if len(names) > _SHOWN_WORKERS:
        return f"{', '.join(names[:_SHOWN_WORKERS])} and {many(len(names) - _SHOWN_WORKERS, 'other worker')}"
    return ", ".join(names)
