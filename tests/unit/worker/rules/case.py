"""What the tests of the rules need: a message, a rules file as text, and the verdict in few words."""

from collections.abc import Sequence
from pathlib import Path

from config.settings import Settings
from spool.records import Message
from spool.states import Place, RecipientState
from spool.verdicts import Verdict
from worker.rules.choice import first_verdict
from worker.rules.facts import Facts
from worker.rules.records import RuleSet
from worker.rules.rule_file import Known, read_rules

CONTENT = b"From: App <app@shop.example.com>\r\nTo: bob@partner.example\r\nSubject: Your invoice\r\n\r\nHello\r\n"
SETTINGS = Settings.model_validate(
    {
        "smtp": {"local_domains": ["example.com", "*.example.com"]},
        "lanes": {"shares": {"express": 100, "bulk": 80}},
        "routes": {"main": {}, "second": {}},
    }
)
LISTED = SETTINGS.model_copy(update={"rules": SETTINGS.rules.model_copy(update={"outbound_precedence": "listed"})})


def a_message(*recipients: str, sender: str = "app@bounces.example.com", user: str = "", ip: str = "") -> Message:
    recipients = recipients or ("bob@partner.example",)
    return Message(
        message_id="0000018bcfe56800-aaaa-000000",
        sender=sender,
        recipients=recipients,
        states=(RecipientState.WAITING,) * len(recipients),
        place=Place.LEASED,
        accepted_at_ms=0,
        size_bytes=0,
        door="smtp",
        header_message_id="",
        user=user,
        client_address=ip,
        helo="",
        is_auto_submitted=False,
        content_ref="",
        rounds=0,
        failures=0,
        crashes=0,
        reason="",
        until_ms=0,
    )


def some_rules(folder: Path, text: str) -> RuleSet:
    """The rules of this text, which must be right."""
    file = folder / "rules.toml"
    file.write_text(text, "utf-8")
    return read_rules(file, Known.of(SETTINGS))


def judged(
    rules: RuleSet, message: Message, content: bytes = CONTENT, settings: Settings = SETTINGS
) -> tuple[Verdict, Message]:
    """The verdict, and the message as it is then; the verdict survives being written."""
    verdict = first_verdict(rules, Facts(message, content), message, settings)
    assert Verdict.decode(verdict.encode()) == verdict
    return verdict, message.judged(verdict)


def fates(verdict: Verdict, message: Message) -> dict[str, str]:
    """Address → `ACTION rule`, or `? rule` while a function decides."""
    found = {}
    for index, address in enumerate(message.recipients):
        if decision := verdict.decision_of(index):
            found[address] = f"{decision.action} {decision.rule}".strip()
        else:
            asking = [call.rule for call in verdict.calls if call.mode == "sync" and index in call.recipients]
            found[address] = "? " + " ".join(asking)
    return found


def assert_everybody_has_one_fate(verdict: Verdict, message: Message) -> None:
    """The invariant of a verdict, unless it says nothing at all."""
    everybody = range(len(message.recipients))
    decided = [index for one in verdict.decisions for index in one.recipients]
    asked = [index for one in verdict.calls if one.mode == "sync" for index in one.recipients]
    assert sorted([*decided, *asked]) == list(everybody)
    gets_nothing = {i for one in verdict.decisions if one.action in {"DROP", "BOUNCE"} for i in one.recipients}
    in_parts = [index for part in verdict.parts for index in part.recipients]
    assert sorted(in_parts) == sorted(set(decided) - gets_nothing)
    for call in verdict.calls:
        in_templates = [index for part in call.parts for index in part.recipients]
        assert sorted(in_templates) == (sorted(call.recipients) if call.mode == "sync" else [])


def all_recipients(parts: Sequence[object]) -> list[int]:
    return sorted(index for part in parts for index in part.recipients)  # type: ignore[attr-defined]
