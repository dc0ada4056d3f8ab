"""Every kind is made of what its target says, and none fails to be made."""

from typing import get_args

import pytest

from config.errors import Refused, TryLater
from config.settings import EventsSettings, Settings
from sending_events.configuration_sets.records import EventDestination, Kind
from sending_events.destinations.destination import part_records
from sending_events.destinations.opening import OPENERS, make_context, open_target
from tests.contract.event_services import an_event, opened

TARGETS = {
    "cloudwatch": {"DimensionConfigurations": []},
    "firehose": {"DeliveryStreamARN": "arn:aws:firehose:eu-west-1:123456789012:deliverystream/s"},
    "sns": {"TopicARN": "arn:aws:sns:eu-west-1:123456789012:t"},
    "eventbridge": {"EventBusArn": "arn:aws:events:eu-west-1:123456789012:event-bus/b"},
    "webhook": {"Url": "https://hooks.example.com/", "Secret": "a secret of 24 letters.."},
    "redis_stream": {"Key": "mail-events"},
    "file": {"Path": "shop.ndjson"},
    "log": {},
}


def test_there_is_a_row_for_every_kind():
    assert set(OPENERS) == set(get_args(Kind)) == set(TARGETS)


@pytest.mark.parametrize("kind", TARGETS)
async def test_a_destination_is_named_after_its_set_and_itself(kind, tmp_path):
    async with opened(kind, TARGETS[kind], tmp_path) as one:
        assert one.name == "set:dest"
        assert 1 <= part_records(one, 500) <= 500


@pytest.mark.parametrize("kind", [kind for kind in TARGETS if kind not in {"cloudwatch", "log"}])
async def test_a_target_that_makes_no_sense_keeps_its_events_and_stops_nobody(kind, tmp_path):
    async with opened(kind, {}, tmp_path) as one:
        with pytest.raises(TryLater, match="not complete"):
            await one.take([an_event()])


async def test_a_file_lies_in_the_data_dir_unless_it_says_otherwise(tmp_path):
    record = an_event()
    async with opened("file", {"Path": "sub/shop.ndjson"}, tmp_path) as one:
        await one.take([record])
    async with opened("file", {"Path": str(tmp_path / "other.ndjson")}, tmp_path / "elsewhere") as one:
        await one.take([record])
    assert (tmp_path / "sub/shop.ndjson").read_bytes() == (tmp_path / "other.ndjson").read_bytes() == record + b"\n"


async def test_a_webhook_to_a_private_address_keeps_its_events(tmp_path):
    target = {"Url": "https://127.0.0.1:1/", "Secret": "a secret of 24 letters.."}
    async with opened("webhook", target, tmp_path) as one:
        with pytest.raises(TryLater, match="must have a public address"):
            await one.take([an_event()])


def test_targets_that_cannot_be_allowed_are_told_at_the_start():
    with pytest.raises(Refused, match="allowed_targets"):
        make_context(Settings(events=EventsSettings(allowed_targets=("*.internal",))), None)


def test_secrets_are_in_no_repr():
    destination = EventDestination("dest", True, frozenset({"Send"}), "webhook", TARGETS["webhook"])
    context = make_context(Settings(), None)
    assert "a secret" not in f"{destination!r} {context!r} {open_target('set', destination, context)!r}"
