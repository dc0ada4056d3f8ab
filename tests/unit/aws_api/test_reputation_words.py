import dataclasses

from aws_api.admin.reputation_words import reputation_notes
from aws_api.admin.story import described
from aws_api.health import judged_health
from aws_api.metrics import exposition
from spool.reputation import SenderFigures, Standing
from spool.states import RecipientState
from tests.figures_at_rest import SAFE, WELL
from tests.unit.worker.stand import message

FIGURES = dataclasses.replace(
    WELL,
    suppressed_addresses=7,
    standings=(
        Standing("shop", "paused", SenderFigures(900, 100, 0), "100 of 1,000 recipients"),
        Standing("news@example.com", "warned", SenderFigures(970, 30, 0), "30 of 1,000 recipients bounced"),
    ),
)


def test_an_operator_is_told_who_it_is_and_what_to_do():
    assert reputation_notes(FIGURES) == (
        "Sender shop is paused: 100 of 1,000 recipients; mailsluice resume --user shop ends it and counts anew.",
        "Sender news@example.com is close to being paused: 30 of 1,000 recipients bounced.",
    )


def test_the_public_page_has_numbers_alone_and_stays_healthy():
    health = judged_health(SAFE, FIGURES, 120)
    assert health.is_ok
    assert health.notes == (
        "Reputation: 1 sender paused for bounces or complaints: see mailsluice queue.",
        "Reputation: 1 sender close to that: see mailsluice queue.",
    )
    assert judged_health(SAFE, WELL, 120).notes == ()


def test_the_metrics_count_senders_and_addresses():
    text = exposition(FIGURES, SAFE).decode()
    assert "\nmailsluice_suppressed_addresses 7.0\n" in text
    assert '\nmailsluice_reputation_senders{level="paused"} 1.0\n' in text
    assert '\nmailsluice_reputation_senders{level="warned"} 1.0\n' in text


def test_show_says_that_a_recipient_was_on_the_list():
    of = message(recipients=2, states=(RecipientState.REJECTED, RecipientState.SENT), suppressed=frozenset({0}))
    first, second = described(of)["recipients"]
    assert first["reason"] == "on the suppression list; mailsluice suppression show ADDRESS says why"
    assert second["reason"] == ""
