"""What /healthz, /metrics and `queue` say about the rules that the workers judge by."""

import dataclasses

from aws_api.admin.picture import Picture, described
from aws_api.health import judged_health
from aws_api.metrics import exposition
from mailsluice.queue import told
from spool.figures import Figures, living_workers
from tests.figures_at_rest import LIMITS, NOW_MS, SAFE, WELL, figures

WORKER = WELL.workers[0]
TROUBLE = 'rules.toml: rule "spam" (1), action.type: DORP; allowed: DROP'


def workers(*rules: tuple[str, str]) -> Figures:
    return figures(
        workers=tuple(
            dataclasses.replace(WORKER, name=f"w-{number}", rules_version=version, rules_trouble=trouble)
            for number, (version, trouble) in enumerate(rules, 1)
        )
    )


def test_workers_of_one_mind_need_no_words():
    health = judged_health(SAFE, workers(("a1", ""), ("a1", "")), stall_seconds=120)
    assert (health.is_ok, health.problems, health.notes) == (True, (), ())
    assert health.figures["rules"] == {"versions": {"a1": ("w-1", "w-2")}, "trouble": {}}


def test_a_file_that_cannot_be_used_is_told_with_its_workers_and_is_no_failure():
    health = judged_health(SAFE, workers(("a1", TROUBLE), ("a1", TROUBLE)), stall_seconds=120)
    assert health.is_ok
    assert health.problems == ()
    (note,) = health.notes
    assert note == (
        f"Rules: w-1, w-2 go on with version a1, because the file cannot be used: {TROUBLE}. "
        "Put it right; mailsluice rules check tells all mistakes."
    )
    assert health.figures["rules"]["trouble"] == {"w-1": TROUBLE, "w-2": TROUBLE}


def test_addresses_that_a_mistake_quotes_are_for_the_operator_only():
    seen = workers(("a1", 'rule "x" (1), senders: "boss+x@example.com" has a +; allowed: user@domain'))
    health = judged_health(SAFE, seen, stall_seconds=120)
    assert "boss" not in str(health)
    assert "@" not in str(health)
    assert 'rule "x" (1), senders: "…" has a +' in health.notes[0]
    assert "boss+x@example.com" in told(Picture(seen, (), SAFE, 120, {"default": LIMITS}))


def test_workers_with_different_rules_are_told_apart():
    seen = workers(("a1", ""), ("b2", ""), ("", ""))
    (note,) = judged_health(SAFE, seen, stall_seconds=120).notes
    assert "w-1 by version a1; w-2 by version b2; w-3 by no rules" in note


def test_many_workers_are_counted_instead_of_named():
    (note,) = judged_health(SAFE, workers(*[("a1", TROUBLE)] * 9), stall_seconds=120).notes
    assert "w-5 and 4 other workers go on" in note
    assert "w-6" not in note


def test_metrics_tell_versions_and_trouble():
    text = exposition(workers(("a1", ""), ("a1", TROUBLE), ("b2", "")), SAFE).decode()
    assert 'mailsluice_rules_info{version="a1"} 2.0' in text
    assert 'mailsluice_rules_info{version="b2"} 1.0' in text
    assert "mailsluice_rules_trouble 1.0" in text


def test_queue_tells_the_same():
    picture = Picture(workers(("a1", TROUBLE)), (), SAFE, 120, {"default": LIMITS})
    text = told(picture)
    assert "rules version a1" in text
    assert "because the file cannot be used" in text
    assert described(picture)["workers"][0]["rules_trouble"] == TROUBLE
    assert any("cannot be used" in note for note in described(picture)["notes"])


def test_a_heartbeat_carries_the_rules_of_its_worker():
    row = b'{"at_ms": %d, "rules_version": "a1", "rules": 3, "rules_trouble": "gone"}' % NOW_MS
    (worker,) = living_workers({b"w": row}, NOW_MS)
    assert (worker.rules_version, worker.rules_trouble) == ("a1", "gone")
    (old,) = living_workers({b"w": b'{"at_ms": %d}' % NOW_MS}, NOW_MS)
    assert (old.rules_version, old.rules_trouble) == ("", "")
