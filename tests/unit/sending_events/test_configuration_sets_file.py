"""The configuration sets of mailsluice.toml."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from config.settings import Settings
from sending_events.configuration_sets.records import KINDS, MATCHING_EVENT_TYPES
from sending_events.configuration_sets.set_file import WrongSetFile, check_file, sets_of_file
from sending_events.configuration_sets.shapes import OUR_EVENT_TYPES, name_mistake
from sending_events.configuration_sets.targets import MEMBERS

HOUSE = Path(__file__).parents[3]
RIGHT = """
[configuration_sets.empty]

[[configuration_sets.orders.EventDestinations]]
Name = "hook"
Enabled = true
MatchingEventTypes = ["bounce", "COMPLAINT", "sluice:Dropped"]
WebhookDestination = { Url = "https://hooks.example.com/ses", SecretEnvironment = "HOOK_SECRET" }

[[configuration_sets.orders.EventDestinations]]
Name = "figures"
MatchingEventTypes = ["send"]
[configuration_sets.orders.EventDestinations.CloudWatchDestination]
Namespace = "Shop"
DimensionConfigurations = [
  { DimensionName = "kind", DimensionValueSource = "messageTag", DefaultDimensionValue = "none" },
]
"""


def settings(text: str) -> Settings:
    return Settings.model_validate(tomllib.loads(text))


def lines(sets: dict[str, Any]) -> list[str]:
    with pytest.raises(WrongSetFile) as found:
        check_file(Settings.model_validate({"configuration_sets": sets}))
    return found.value.reason.splitlines()


def test_sets_are_read_with_their_destinations() -> None:
    sets = sets_of_file(settings(RIGHT))
    assert list(sets) == ["empty", "orders"]
    assert sets["empty"].is_of_file
    assert sets["empty"].destinations == ()
    hook, figures = sets["orders"].destinations
    assert (hook.name, hook.is_enabled, hook.kind) == ("hook", True, "webhook")
    assert hook.event_types == {"Bounce", "Complaint", "sluice:Dropped"}
    assert (figures.name, figures.is_enabled, figures.kind) == ("figures", False, "cloudwatch")


def test_the_sample_of_the_repository_can_be_used() -> None:
    sample = HOUSE / "examples" / "configuration_sets.toml"
    sets = sets_of_file(settings(sample.read_text("utf-8")))
    kinds = {destination.kind for one in sets.values() for destination in one.destinations}
    assert kinds == {"cloudwatch", "firehose", "sns", "eventbridge", "webhook", "redis_stream", "file", "log"}


def test_the_samples_of_the_page_can_be_used() -> None:
    page = (HOUSE / "docs" / "events.md").read_text("utf-8")
    samples = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    assert samples
    assert all(sets_of_file(settings(sample)) for sample in samples if "[configuration_sets" in sample)


def test_every_member_of_every_kind_and_every_event_type_is_told_on_the_page() -> None:
    page = (HOUSE / "docs" / "events.md").read_text("utf-8")
    names = [*KINDS, *(name for members in MEMBERS.values() for name in members), *MATCHING_EVENT_TYPES]
    assert [name for name in [*names, *OUR_EVENT_TYPES] if name not in page] == []


def test_without_sets_there_is_nothing_to_say() -> None:
    check_file(Settings())


def test_every_mistake_of_every_set_has_its_line() -> None:
    right = {"Name": "one", "MatchingEventTypes": ["send"], "LogDestination": {}}
    found = lines(
        {
            "a b": {},
            "orders": {
                "Destinations": [],
                "EventDestinations": [
                    right,
                    right,
                    {"Name": "two", "MatchingEventTypes": [], "LogDestination": {}},
                    {},
                ],
            },
            "many": {"EventDestinations": [{**right, "Name": f"d{number}"} for number in range(11)]},
            "strange": {"EventDestinations": ["hook"]},
        }
    )
    bare = "[configuration_sets.orders] EventDestinations 4 (without a name):"
    assert found == [
        "[configuration_sets.a b] " + name_mistake("a b", "configuration set"),
        "[configuration_sets.orders] Destinations: no such setting; allowed: EventDestinations",
        "[configuration_sets.orders] EventDestinations 2 (one): another destination of this set has the same Name",
        "[configuration_sets.orders] EventDestinations 3 (two): At least one event type must be specified.",
        f"{bare} The event destination name must be specified.",
        f"{bare} At least one event type must be specified.",
        f"{bare} no destination; one of: {', '.join(KINDS)}",
        "[configuration_sets.many] EventDestinations: at most 10 are allowed, not 11",
        "[configuration_sets.strange] EventDestinations must be a list of tables",
    ]


def test_a_secret_is_in_no_message_and_no_repr() -> None:
    hook = {"Url": "https://hooks.example.com/", "Secret": "0123456789abcdef" * 100}
    shape = {"Name": "one", "MatchingEventTypes": ["send"], "WebhookDestination": hook}
    sets = {"orders": {"EventDestinations": [shape]}}
    assert "0123456789" not in "".join(lines(sets))
    assert "0123456789" not in repr(Settings.model_validate({"configuration_sets": sets}))


def hook_to(url: str) -> dict[str, Any]:
    hook = {"Url": url, "SecretEnvironment": "HOOK"}
    shape = {"Name": "one", "MatchingEventTypes": ["send"], "WebhookDestination": hook}
    return {"orders": {"EventDestinations": [shape]}}


def test_a_webhook_that_would_not_be_called_is_a_mistake() -> None:
    (line,) = lines(hook_to("http://hooks.example.com/"))
    assert line.startswith(
        "[configuration_sets.orders] EventDestinations 1 (one): Url must begin with https://, unless "
    )
    assert "must have a public address" in lines(hook_to("https://169.254.169.254/latest"))[0]
    allowed = {"allowed_targets": ["hooks.example.com", "10.0.0.0/8"]}
    for url in ("http://hooks.example.com/", "https://10.1.2.3/"):
        check_file(Settings.model_validate({"configuration_sets": hook_to(url), "events": allowed}))
