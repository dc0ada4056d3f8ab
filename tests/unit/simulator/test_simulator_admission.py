"""Whether the account takes a well-formed call: its state, the configuration set, the identities."""

import pytest

from simulator.admission import STATES, admit
from simulator.caller import Caller
from simulator.checks import check
from simulator.identities import is_verified
from simulator.refusals import NO_SUCH_SET, OWNER_PAUSED, PAUSED, REJECTED, SET_PAUSED, SUSPENDED, Refused
from simulator.send_call import V1_MAX_ENCODED_BYTES, SendCall
from simulator.settings import ACCOUNT_STATES, SimulatorSettings

RAW = b"From: Ann <contact@example.com>\r\nTo: bob@example.org\r\n\r\nbody\r\n"
BEGINNING = "Email address is not verified. The following identities failed the check in region EU-WEST-1: "


def admitted(raw=RAW, source=None, destinations=None, configuration_set=None, **settings):
    envelope = check(SendCall(raw, source, destinations, configuration_set, None, V1_MAX_ENCODED_BYTES))
    admit(SimulatorSettings(**settings), envelope, Caller("SendRawEmail", "eu-west-1"))


def refused(*args, **kwargs) -> Refused:
    with pytest.raises(Refused) as caught:
        admitted(*args, **kwargs)
    return caught.value


def failed(*args, **kwargs) -> str:
    answer = refused(*args, **kwargs)
    assert answer.refusal is REJECTED
    assert answer.text.startswith(BEGINNING)
    return answer.text.removeprefix(BEGINNING)


def test_every_state_has_its_answer():
    assert set(STATES) == set(ACCOUNT_STATES)
    admitted(account_state="running")
    assert refused(account_state="paused").refusal is OWNER_PAUSED
    assert refused(account_state="paused_by_aws").refusal is PAUSED
    assert refused(account_state="suspended").refusal is SUSPENDED
    assert refused(account_state="suspended").text.startswith("Sending suspended for this account. ")


def test_the_state_is_told_before_set_and_identities():
    both = {"account_state": "paused", "configuration_sets": ("a",), "sandbox": True}
    assert refused(configuration_set="b", **both).refusal is OWNER_PAUSED
    assert refused(configuration_set="b", **both | {"account_state": "running"}).refusal is NO_SUCH_SET


def test_a_set_must_exist_when_any_are_listed():
    admitted(configuration_set="b")
    admitted(configuration_set="b", configuration_sets=("a", "b"))
    admitted(configuration_sets=("a",))
    answer = refused(configuration_set="b", configuration_sets=("a",))
    assert (answer.refusal, answer.text) == (NO_SUCH_SET, "Configuration set <b> does not exist.")
    assert answer.members == {"ConfigurationSetName": "b"}
    in_header = b"X-SES-CONFIGURATION-SET: b\r\n" + RAW
    assert refused(in_header, configuration_sets=("a",)).refusal is NO_SUCH_SET


def test_a_paused_set_refuses_its_calls_only():
    admitted(configuration_set="b", paused_configuration_sets=("a",))
    assert refused(configuration_set="a", paused_configuration_sets=("a",)).refusal is SET_PAUSED


def test_the_sandbox_lists_what_failed_as_it_was_written():
    assert failed(sandbox=True) == "Ann <contact@example.com>, contact@example.com, bob@example.org"
    assert failed(sandbox=True, verified_identities=("example.com",)) == "bob@example.org"
    assert failed(sandbox=True, verified_identities=("example.org",)) == (
        "Ann <contact@example.com>, contact@example.com"
    )
    admitted(sandbox=True, verified_identities=("contact@example.com", "bob@example.org"))


def test_the_sender_of_the_call_is_checked_beside_the_headers():
    known = {"sandbox": True, "verified_identities": ("example.com", "example.org")}
    assert failed(source="Other <other@example.net>", **known) == "other@example.net"
    with_sender = b"Sender: s@example.net\r\nReturn-Path: <r@example.net>\r\n" + RAW
    assert failed(with_sender, **known) == "s@example.net, <r@example.net>"
    admitted(b"Return-Path: <>\r\n" + RAW, **known)


def test_the_mailbox_simulator_needs_no_verification():
    admitted(
        sandbox=True,
        verified_identities=("contact@example.com",),
        destinations=("bounce+1@simulator.amazonses.com", "success@simulator.amazonses.com"),
    )


def test_outside_the_sandbox_identities_bind_the_sender_only():
    admitted()
    admitted(verified_identities=("example.com",))
    assert failed(verified_identities=("example.org",)) == "Ann <contact@example.com>, contact@example.com"


@pytest.mark.parametrize(
    ("address", "is_known"),
    [
        ("ann@example.com", True),
        ("Ann+label@Example.com", True),
        ("bob@example.com", False),
        ("x@example.org", True),
        ("x@mail.EXAMPLE.org", True),
        ("x@notexample.org", False),
        ("x@org", False),
    ],
)
def test_an_identity_covers_labels_and_subdomains(address, is_known):
    assert is_verified(address, frozenset(("ann@example.com", "example.org"))) is is_known
