"""What a function's answer means."""

import contextlib
from pathlib import Path

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from worker.functions.answer import MAX_BOUNCE_CHARACTERS, read_answer
from worker.functions.failures import InvocationFailed
from worker.functions.raw_answer import MAX_ANSWER_BYTES
from worker.rules.records import Decide

FIXTURES = Path(__file__).parents[3] / "contract" / "fixtures"
FALLBACK = Decide("BOUNCE", "fallback")
RECIPIENTS = {0: "a@example.com", 3: "b@example.com"}
DEFAULT, DROP = Decide("DEFAULT"), Decide("DROP")


def is_local(address):
    return address.lower().endswith("@example.com")


def read(answer, direction="OUTBOUND", recipients=RECIPIENTS, others=(), fallback=FALLBACK):
    payload = answer if isinstance(answer, bytes) else orjson.dumps(answer)
    return read_answer(
        payload, direction=direction, recipients=recipients, others=others, fallback=fallback, is_local=is_local
    )


def by_index(fates):
    """Index → decision; every recipient has one and only one."""
    pairs = [(index, decide) for decide, indexes, _ in fates.decisions for index in indexes]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def action(kind, *recipients, everybody=None, **parameters):
    entry = {"action": {"type": kind}}
    if parameters:
        entry["action"]["parameters"] = parameters
    if recipients:
        entry["recipients"] = list(recipients)
    if everybody is not None:
        entry["allRecipients"] = everybody
    return entry


def answer(*actions):
    return {"actions": list(actions)}


# -- what WorkMail documents


def documented(number):
    return (FIXTURES / "workmail" / f"run_lambda_response_{number}.json").read_bytes()


def test_a_named_recipient_is_dropped_and_all_others_go_their_way():
    recipients = {0: "other@example.com", 1: "drop-recipient@example.com"}
    assert by_index(read(documented(1), recipients=recipients)) == {0: DEFAULT, 1: DROP}


def test_everybody_is_bounced_with_the_functions_message():
    bounce = Decide("BOUNCE", "Email in breach of company policy.")
    assert by_index(read(documented(2))) == {0: bounce, 3: bounce}


@pytest.mark.parametrize("direction", ["INBOUND", "OUTBOUND"])
def test_a_new_recipient_is_added(direction):
    fates = read(documented(3), direction)
    assert by_index(fates) == {0: DEFAULT, 3: DEFAULT}
    assert fates.added == (("new-recipient@example.com", DEFAULT),)


@pytest.mark.parametrize("returned", ["returns", "returns_inbound", "returns_outbound"])
def test_answers_seen_from_the_public_templates_are_understood(returned):
    templates = orjson.loads((FIXTURES / "workmail_templates" / "observed_responses.json").read_bytes())
    seen = [one[returned] for one in templates.values() if returned in one]
    assert seen
    for one in seen:
        assert by_index(read(one, "INBOUND")).keys() == RECIPIENTS.keys()


def test_templates_that_return_null_have_failed():
    templates = orjson.loads((FIXTURES / "workmail_templates" / "observed_responses.json").read_bytes())
    assert templates["workmail-hello-world-python"]["returns_when_env_missing"] is None
    with pytest.raises(InvocationFailed, match="null"):
        read(None)


# -- who is decided by what


@pytest.mark.parametrize("is_first", [True, False])
def test_a_named_recipient_comes_before_all_wherever_it_stands(is_first):
    actions = [action("DEFAULT", everybody=True), action("DROP", "a@example.com")]
    assert by_index(read(answer(*(actions if is_first else actions[::-1])))) == {0: DROP, 3: DEFAULT}


def test_one_action_may_name_recipients_and_all():
    assert by_index(read(answer(action("DROP", "new@x.example", "a@example.com", everybody=True)))) == {
        0: DROP,
        3: DROP,
    }


def test_who_is_left_out_gets_the_fallback_and_is_told_why():
    fates = read(answer(action("DROP", "a@example.com")))
    assert by_index(fates) == {0: DROP, 3: FALLBACK}
    assert [because for *_, because in fates.decisions] == [
        "the function said DROP",
        "the function does not name it: fallback",
    ]


@pytest.mark.parametrize("everybody", [True, "true", "True", " TRUE "])
def test_true_may_be_a_text(everybody):
    assert by_index(read(answer(action("DROP", everybody=everybody)))) == {0: DROP, 3: DROP}


def test_false_may_be_a_text():
    assert by_index(read(answer(action("DROP", "a@example.com", everybody="false")))) == {0: DROP, 3: FALLBACK}


def test_an_empty_list_names_nobody():
    both = answer({"action": {"type": "BOUNCE"}, "recipients": []}, action("DEFAULT", everybody=True))
    assert by_index(read(both)) == {0: DEFAULT, 3: DEFAULT}
    assert by_index(read(answer({"action": {"type": "BOUNCE"}, "recipients": []}))) == {0: FALLBACK, 3: FALLBACK}


def test_null_is_as_good_as_left_out():
    entry = {"action": {"type": "BOUNCE", "parameters": None}, "recipients": None, "allRecipients": True}
    assert by_index(read(answer(entry))) == {0: Decide("BOUNCE"), 3: Decide("BOUNCE")}


STRICT = ["DROP", "BOUNCE", "MOVE_TO_JUNK", "DEFAULT", "BYPASS_SPAM_CHECK"]


@pytest.mark.parametrize("stricter", range(4))
@pytest.mark.parametrize("is_first", [True, False])
def test_named_twice_means_the_more_restrictive_action(stricter, is_first):
    pair = STRICT[stricter : stricter + 2]
    named = [action(kind, "a@example.com") for kind in (pair if is_first else pair[::-1])]
    alike = [action(kind, everybody=True) for kind in (pair if is_first else pair[::-1])]
    assert by_index(read(answer(*named), "INBOUND"))[0].action == pair[0]
    assert by_index(read(answer(*alike), "INBOUND"))[0].action == pair[0]


def test_addresses_are_compared_without_regard_to_case_and_script():
    recipients = {0: "Ann@Example.com", 1: "bob@xn--bcher-kva.example"}
    named = answer(action("DROP", "aNN@exaMPle.com", "BOB@Bücher.example"))
    fates = read(named, recipients=recipients)
    assert (by_index(fates), fates.added) == ({0: DROP, 1: DROP}, ())


def test_two_recipients_that_differ_in_case_alone_are_both_decided():
    assert by_index(read(answer(action("DROP", "a@x.example")), recipients={0: "A@x.example", 1: "a@x.example"})) == {
        0: DROP,
        1: DROP,
    }


def test_the_function_cannot_decide_about_those_it_was_not_asked_about():
    fates = read(
        answer(action("DROP", "Other@x.example"), action("DEFAULT", everybody=True)), others=("other@x.example",)
    )
    assert (by_index(fates), fates.added) == ({0: DEFAULT, 3: DEFAULT}, ())


# -- ten actions


def test_the_eleventh_action_counts_no_more_and_the_answer_stays_valid():
    names = [f"r{number}@x.example" for number in range(11)]
    fates = read(answer(*(action("DROP", name) for name in names)), recipients=dict(enumerate(names)))
    assert by_index(fates) == {**dict.fromkeys(range(10), DROP), 10: FALLBACK}


def test_named_by_a_late_action_means_the_fallback_although_another_is_for_all():
    names = [f"r{number}@x.example" for number in range(11)]
    actions = [action("DEFAULT", everybody=True), *(action("DROP", name) for name in names[:9])]
    late = [action("DROP", names[10]), action("DROP", names[0], "new@x.example"), action("DROP", everybody=True)]
    fates = read(answer(*actions, *late), recipients=dict(enumerate(names)))
    assert by_index(fates) == {**dict.fromkeys(range(9), DROP), 9: DEFAULT, 10: FALLBACK}
    assert fates.added == ()


def test_a_repeated_action_is_none():
    repeated = [action("DROP", "a@example.com")] * 20
    assert by_index(read(answer(*repeated, action("DEFAULT", "b@example.com")))) == {0: DROP, 3: DEFAULT}


# -- new recipients


def test_outbound_any_well_formed_address_is_added_once_in_order():
    named = answer(
        action("DEFAULT", "z@elsewhere.example", "y@bücher.example", "Z@elsewhere.example"),
        action("DEFAULT", everybody=True),
    )
    assert read(named).added == (("z@elsewhere.example", DEFAULT), ("y@xn--bcher-kva.example", DEFAULT))


@pytest.mark.parametrize(
    "wrong", ["", "nobody", "Ann <a@x.example>", "a@x.example\r\nBcc: b@x.example", "@", "a@", "@b"]
)
def test_what_is_no_address_is_not_added_and_that_is_told(wrong):
    fates = read(answer(action("DEFAULT", wrong, everybody=True)))
    assert fates.added == ()
    assert "(is no address)" in fates.decisions[0][2]
    assert fates.decisions[0][2].isprintable()


def test_inbound_only_local_addresses_are_added_and_the_others_told():
    fates = read(answer(action("DEFAULT", "new@Example.com", "spy@elsewhere.example", everybody=True)), "INBOUND")
    assert fates.added == (("new@Example.com", DEFAULT),)
    assert fates.decisions[0][2] == "the function said DEFAULT; ignored: spy@elsewhere.example (is not local)"


@pytest.mark.parametrize("kind", ["DROP", "BOUNCE"])
def test_drop_and_bounce_of_a_stranger_mean_nothing(kind):
    fates = read(answer(action(kind, "stranger@x.example"), action("DEFAULT", everybody=True)))
    assert (by_index(fates), fates.added) == ({0: DEFAULT, 3: DEFAULT}, ())
    assert "stranger@x.example (is no recipient)" in fates.decisions[0][2]


def test_a_new_recipient_may_go_to_junk_inbound():
    fates = read(answer(action("MOVE_TO_JUNK", "new@example.com", everybody=True)), "INBOUND")
    assert fates.added == (("new@example.com", Decide("MOVE_TO_JUNK")),)


def test_outbound_added_ones_may_make_500_recipients_and_no_more():
    recipients = {index: f"r{index}@x.example" for index in range(300)}
    others = [f"o{index}@x.example" for index in range(198)]
    two = answer(action("DEFAULT", "n1@x.example", "n2@x.example", everybody=True))
    three = answer(action("DEFAULT", "n1@x.example", "n2@x.example", "n3@x.example", everybody=True))
    assert len(read(two, recipients=recipients, others=others).added) == 2
    with pytest.raises(InvocationFailed, match="501"):
        read(three, recipients=recipients, others=others)


@pytest.mark.parametrize("direction", ["INBOUND", "OUTBOUND"])
def test_more_than_500_new_recipients_are_refused_before_any_of_them_is_looked_at(direction):
    def is_local(address):
        raise AssertionError("it was looked at")

    new = answer(action("DEFAULT", *(f"n{number}@bücher.example" for number in range(501)), everybody=True))
    with pytest.raises(InvocationFailed, match="501 new recipients; allowed: 500"):
        read_answer(
            orjson.dumps(new), direction=direction, recipients={}, others=(), fallback=FALLBACK, is_local=is_local
        )


def test_any_number_of_strangers_may_be_dropped():
    strangers = answer(action("DROP", *(f"n{number}@x.example" for number in range(2000)), everybody=True))
    fates = read(strangers)
    assert fates.added == ()
    assert fates.decisions[0][2].endswith("n4@x.example (is no recipient), 1995 more")


def test_a_message_that_had_more_than_500_recipients_may_keep_them():
    recipients = {index: f"r{index}@x.example" for index in range(600)}
    assert len(by_index(read(answer(action("DEFAULT", everybody=True)), recipients=recipients))) == 600


# -- what a bounce says


def test_a_bounce_message_is_bounded_and_keeps_its_line_breaks():
    text = "one\r\ntwo\rthree\x00\x1b[31m\u2028\n" + "x" * 10_000
    (decide, *_), *_ = read(answer(action("BOUNCE", everybody=True, bounceMessage=text))).decisions
    assert decide.text.startswith("one\ntwo\nthree  [31m \nxxx")
    assert len(decide.text) == MAX_BOUNCE_CHARACTERS


def test_a_message_for_another_action_is_not_looked_at():
    assert by_index(read(answer(action("DROP", everybody=True, bounceMessage=7))))[0] == DROP


# -- what is invalid


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b'{"actions": [', "not JSON"),
        (b"NaN", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"null", "null"),
        (b'"DROP"', "a text"),
        (b"7", "a number"),
        (b"true", "a boolean"),
        ([], "a list"),
        ({}, '"actions" of the answer is null'),
        ({"actions": None}, "null"),
        ({"actions": {}}, "an object"),
        ({"actions": []}, "empty"),
        ({"errorMessage": "name\n'x'", "errorType": "NameError"}, "the function failed: NameError: name 'x'"),
        (answer(None), "actions[0] is null"),
        (answer({}), "actions[0] has neither recipients nor allRecipients"),
        (answer({"action": {"type": "DROP"}}), "neither"),
        (answer({"action": {"type": "DROP"}, "allRecipients": False}), "neither"),
        (answer({"allRecipients": True}), "actions[0].action has no type"),
        (answer({"action": "DROP", "allRecipients": True}), "no type"),
        (answer({"action": {"type": 7}, "allRecipients": True}), "no type"),
        (
            answer(action("DROP", everybody=True), action("EXPLODE", everybody=True)),
            "actions[1].action.type is EXPLODE",
        ),
        (answer(action("drop", everybody=True)), "allowed for OUTBOUND: DROP, BOUNCE, DEFAULT"),
        (answer(action("MOVE_TO_JUNK", everybody=True)), "allowed for OUTBOUND"),
        (answer(action("BYPASS_SPAM_CHECK", "a@example.com")), "allowed for OUTBOUND"),
        (answer(action("RUN_LAMBDA", everybody=True)), "allowed for OUTBOUND"),
        (answer(action("DROP", everybody="yes")), "neither true nor false"),
        (answer(action("DROP", everybody=1)), "neither true nor false"),
        (answer({"action": {"type": "DROP"}, "recipients": "a@example.com"}), "no list of addresses"),
        (answer({"action": {"type": "DROP"}, "recipients": [{"address": "a@example.com"}]}), "no list of addresses"),
        (answer(action("BOUNCE", everybody=True, bounceMessage=["no"])), "bounceMessage is no text"),
        (answer({"action": {"type": "BOUNCE", "parameters": 7}, "allRecipients": True}), "no text"),
        (b" " * MAX_ANSWER_BYTES + b"{}", "larger than 256 KB"),
    ],
)
def test_an_answer_that_is_not_valid_is_a_failed_invocation_with_words(wrong, words):
    with pytest.raises(InvocationFailed) as failed:
        read(wrong)
    assert words in failed.value.reason
    assert failed.value.reason.isprintable()


def test_an_answer_of_256_kb_is_read():
    payload = orjson.dumps(answer(action("DROP", everybody=True)))
    assert by_index(read(payload.ljust(MAX_ANSWER_BYTES))) == {0: DROP, 3: DROP}


# -- whatever comes

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.sampled_from([*RECIPIENTS.values(), "true", "new@x.example"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
ENTRY = st.fixed_dictionaries(
    {"action": st.fixed_dictionaries({"type": st.sampled_from([*STRICT, "?"])}, optional={"parameters": JSON}) | JSON},
    optional={
        "recipients": JSON | st.lists(st.sampled_from([*RECIPIENTS.values(), "new@x.example", "A@EXAMPLE.COM", "ü@ü"])),
        "allRecipients": JSON | st.just(True),
    },
)


@given(
    st.binary() | JSON | st.fixed_dictionaries({"actions": st.lists(ENTRY, max_size=14)}),
    st.sampled_from(["INBOUND", "OUTBOUND"]),
)
@example(b'{"actions": [{"action": {"type": "DROP"}, "recipients": ["\\ud800@x"]}]}', "INBOUND")
@example({"actions": [action("DEFAULT", "a@" + "ü" * 5000, "ü" * 400 + "@x", everybody=True)]}, "OUTBOUND")
def test_any_answer_gives_each_recipient_one_decision_or_is_a_failed_invocation(whatever, direction):
    try:
        payload = whatever if isinstance(whatever, bytes) else orjson.dumps(whatever)
    except TypeError:  # an integer or a half character that JSON has not
        payload = repr(whatever).encode("utf-8", "replace")
    with contextlib.suppress(InvocationFailed):
        fates = read(payload, direction)
        assert by_index(fates).keys() == RECIPIENTS.keys()
        assert orjson.dumps([fates.decisions, fates.added])
        assert not {address.lower() for address, _ in fates.added} & set(RECIPIENTS.values())
