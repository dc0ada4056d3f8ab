"""The rules and functions of examples/ in `mailsluice up`, with nothing set but SLUICE_RULES_FILE."""

from collections.abc import Iterator
from email import message_from_bytes
from pathlib import Path

import pytest

from config.settings import Settings
from tests.running import RunningUp
from worker.rules.rule_file import Known, read_rules

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FOOTER = "Example Ltd, 1 High Street, Example Town"
SIMPLE = "From: {sender}\r\nTo: you@example.net\r\nSubject: Grüße\r\n\r\nGuten Tag.\r\n"
MULTIPART = (
    "From: app@example.com\r\nTo: you@example.net\r\nSubject: two\r\nMIME-Version: 1.0\r\n"
    'Content-Type: multipart/alternative; boundary="b"\r\n\r\n'
    "--b\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    "Gr=FC=DFe\r\n"
    "--b\r\nContent-Type: text/html\r\n\r\n<html><body><p>Hello</p></body></html>\r\n--b--\r\n"
)


def test_the_rules_have_no_mistake_and_name_functions_that_are_there() -> None:
    rule_set = read_rules(EXAMPLES / "rules.toml", Known.of(Settings()))
    assert [rule.name for rule in rule_set.rules] == ["disclaimer", "restricted"]


@pytest.fixture
def up() -> Iterator[RunningUp]:
    with RunningUp(rules_file=EXAMPLES / "rules.toml") as running:
        yield running


def sent(up: RunningUp, count: int) -> list[tuple[list[str], bytes]]:
    """Recipients and bytes of each call that SES took."""
    up.wait_until(lambda: len(up.ledger()) >= count, f"{count} mails are sent", seconds=60)
    return [
        (sorted(one["destinations"]), up.fetch("simulator", f"/messages/{one['ses_message_id']}")[1])
        for one in up.ledger()
    ]


@pytest.mark.processes
@pytest.mark.timeout(240)
def test_every_mail_gets_the_footer_in_its_text_and_in_its_html(up: RunningUp) -> None:
    up.send("app@example.com", ["you@example.net"], SIMPLE.format(sender="app@example.com"))
    up.send("app@example.com", ["me@example.net"], MULTIPART)
    found = {destinations[0]: message_from_bytes(raw) for destinations, raw in sent(up, 2)}
    simple, two = found["you@example.net"], found["me@example.net"]
    text = simple.get_payload(decode=True).decode()
    assert text.startswith("Guten Tag.")
    assert FOOTER in text
    plain, marked_up = (part.get_payload(decode=True).decode() for part in two.get_payload())
    assert plain.startswith("Grüße")
    assert FOOTER in plain
    assert f"<p>{FOOTER}</p></body></html>" in marked_up
    assert str(two["From"]) == "app@example.com"


@pytest.mark.processes
@pytest.mark.timeout(240)
def test_a_list_takes_mail_of_some_senders_only(up: RunningUp) -> None:
    lists = ["all-hands@example.com", "board@example.com", "you@example.net"]
    up.send("app@example.com", lists, SIMPLE.format(sender="app@example.com"))
    first = sent(up, 2)
    assert sorted(destinations for destinations, _ in first) == [["app@example.com"], ["you@example.net"]]
    [bounce] = [raw for destinations, raw in first if destinations == ["app@example.com"]]
    assert b"You may not write to this list." in bounce
    assert b"all-hands@example.com" in bounce
    assert b"board@example.com" not in bounce
    up.send("ceo@example.com", lists[:1], SIMPLE.format(sender="ceo@example.com"))
    assert [destinations for destinations, _ in sent(up, 3)][2] == ["all-hands@example.com"]
