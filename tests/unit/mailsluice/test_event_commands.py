"""`mailsluice events`: destinations, dead letters, replays, on a test's server."""

import json

import orjson
import pytest
from typer.testing import CliRunner

from aws_api.admin.who import Who
from config.errors import Refused
from mailsluice.command import app
from mailsluice.replaying import Wish, instant_of, replay_events, show_dead_letters, show_destinations
from sending_events.rendering import decoded
from spool import keys
from tests.publishing import Collecting, add_events, publisher_of
from tests.spooled import accept, settings_of, with_spool

ME = Who("me@here", "asked by the shop")
NOW_MS = 1_700_000_000_000


@pytest.fixture
def settings(redis_url, tmp_path):
    return settings_of(redis_url, tmp_path, events={"destinations": ("file",)})


@pytest.fixture
def told_before(settings):
    """Five events, of which the destination refused one."""

    async def prepare(spool):
        ids = await add_events(spool.redis, await accept(spool), 5)
        await publisher_of(spool, {"file": Collecting(poison=b'"sluice:attempt":["4"]')}).publish("file")
        return ids

    return with_spool(settings, prepare)


def told_again(settings) -> list[str]:
    async def publish(spool):
        destination = Collecting()
        await publisher_of(spool, {"file": destination}).publish("file")
        return [orjson.loads(line) for part in destination.parts for line in part]

    return [one["eventId"] for one in with_spool(settings, publish) if one["eventType"] != "sluice:Operator"]


@pytest.mark.usefixtures("told_before")
def test_the_destinations_are_listed(settings, capsys):
    assert show_destinations(settings) == 0
    assert capsys.readouterr().out == "file: has everything, 4 taken, 1 dead letter\n"
    assert show_destinations(settings, as_json=True) == 0
    found = json.loads(capsys.readouterr().out)["file"]
    assert (found["behind"], found["published"], found["refused"], found["dead_letters"]) == (0, 4, 1, 1)


def test_dead_letters_are_shown_with_their_reason(settings, told_before, capsys):
    assert show_dead_letters(settings, "file") == 0
    shown = capsys.readouterr().out
    assert told_before[3] in shown
    assert "sluice:Deferred" in shown
    assert "a record is too strange" in shown
    assert show_dead_letters(settings, "file", as_json=True) == 0
    assert [one["event_id"] for one in json.loads(capsys.readouterr().out)] == [told_before[3]]


def test_a_replay_only_counts_until_it_is_meant(settings, told_before, capsys):
    assert replay_events(settings, Wish("file", "1h"), ME) == 0
    assert "5 events would be told to file again. Nothing was changed" in capsys.readouterr().out
    assert told_again(settings) == []
    assert replay_events(settings, Wish("file", "1h", is_meant=True), ME) == 0
    assert "5 events will be told to file again" in capsys.readouterr().out
    assert told_again(settings) == told_before


def test_a_replay_is_an_act_of_the_operator(settings, told_before):
    replay_events(settings, Wish("file", "1h", is_meant=True), ME)

    async def last(spool):
        [(_, fields)] = await spool.redis.xrevrange(keys.EVENTS, count=1)
        return decoded(fields[b"d"])

    act = with_spool(settings, last)
    assert (act.action, act.by, act.why, act.scope) == ("replay", "me@here", "asked by the shop", ("destination:file",))
    assert act.counts == {"events": 5}
    assert act.chosen_by.keys() == {"since"}


def test_dead_letters_are_told_again(settings, told_before, capsys):
    assert replay_events(settings, Wish("file", "1h", is_of_dead=True), ME) == 0
    assert "1 dead letter would be told" in capsys.readouterr().out
    assert replay_events(settings, Wish("file", "1h", is_of_dead=True, is_meant=True), ME) == 0
    assert told_again(settings) == [told_before[3]]
    assert replay_events(settings, Wish("file", "1h", is_of_dead=True, is_meant=True), ME) == 1
    assert "No dead letter of that time" in capsys.readouterr().err
    assert show_dead_letters(settings, "file") == 1


@pytest.mark.usefixtures("told_before")
def test_a_span_without_events_is_said_so(settings, capsys):
    assert replay_events(settings, Wish("file", "2020-01-01T00:00:00Z", "2020-01-02"), ME) == 1
    assert "No event of that time to be told again to file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        (Wish("nobody", "1h"), "no destination nobody; there are: file"),
        (Wish("file", "soon"), "soon is no time"),
        (Wish("file", "1h", "2h"), "--until lies before --since"),
    ],
)
def test_what_cannot_be_meant_is_refused(settings, wish, words):
    with pytest.raises(Refused, match=words):
        replay_events(settings, wish, ME)


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("2h", NOW_MS - 7_200_000),
        ("1970-01-01T00:00:01Z", 1000),
        ("1970-01-01T01:00:01+01:00", 1000),
        ("1970-01-01 00:00:01", 1000),
    ],
)
def test_a_time_is_a_distance_or_an_instant(text, at_ms):
    assert instant_of(text, NOW_MS) == at_ms


@pytest.mark.usefixtures("told_before")
def test_the_command_line_takes_what_the_page_says(settings, monkeypatch):
    monkeypatch.setenv("SLUICE_REDIS_URL", settings.redis_url)
    monkeypatch.setenv("SLUICE_DATA_DIR", str(settings.data.dir))
    run = CliRunner().invoke
    assert "file: has everything" in run(app, ["events", "list"]).stdout
    assert "too strange" in run(app, ["events", "dead", "file"]).stdout
    replayed = run(app, ["events", "replay", "--destination", "file", "--since", "2h", "--yes"])
    assert "5 events will be told to file again" in replayed.stdout
    replayed = run(app, ["events", "replay", "--destination", "file", "--since", "2h", "--dead"])
    assert "1 dead letter would be told to file again" in replayed.stdout
