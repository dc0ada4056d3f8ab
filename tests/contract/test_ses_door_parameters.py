"""Every parameter of the operations that send stands in the compatibility page, and nothing that is none."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.model import ListShape, Shape, StructureShape

from aws_api.app import services_of
from aws_api.wire.services import model_of
from config.settings import Settings

PAGE = Path(__file__).parents[2] / "docs/aws-compatibility.md"
OPERATIONS = [("ses", "SendRawEmail", "v1"), ("ses", "SendEmail", "v1"), ("sesv2", "SendEmail", "v2")]


def leaves(shape: Shape, path: str = "") -> Iterator[str]:
    if isinstance(shape, ListShape):
        yield from leaves(shape.member, path)
    elif isinstance(shape, StructureShape):
        for name, member in shape.members.items():
            yield from leaves(member, f"{path}.{name}" if path else name)
    else:
        yield path


def told() -> dict[str, dict[str, str]]:
    """Operation → parameter → what the page says."""
    section = PAGE.read_text("utf-8").partition("## Sending through the API")[2].partition("\n## ")[0]
    found: dict[str, dict[str, str]] = {}
    operation = ""
    for first, second, third in re.findall(
        r"(?m)^\| ?([^|]*) \| ?([^|]*) \| ([^|]*) \|$", section.partition("| error ")[0]
    ):
        operation = first.strip() or operation
        found.setdefault(operation, {}).update(dict.fromkeys(re.findall(r"`([\w.]+)`", second), third))
    return found


@pytest.mark.parametrize(("service", "name", "api"), OPERATIONS)
def test_every_parameter_of_the_model_is_in_the_page(service, name, api):
    shape = model_of(service).operation_model(name).input_shape
    assert shape is not None
    assert sorted(told()[f"`{name}` ({api})"]) == sorted(leaves(shape))


@pytest.mark.parametrize(("service", "name", "api"), OPERATIONS)
def test_the_page_says_what_becomes_of_it(service, name, api):
    words = ("honoured", "refused by name", "passed on to SES", "as ")
    assert [one for one, text in told()[f"`{name}` ({api})"].items() if not text.startswith(words)] == []


@pytest.mark.parametrize("service", ["ses", "sesv2"])
def test_every_operation_that_is_offered_is_in_the_page(service):
    page = PAGE.read_text("utf-8")
    [offers] = [one.offers for one in services_of(Settings()) if one.name == service]
    assert [name for name in offers if f"`{name}`" not in page] == []
    assert set(offers) <= set(model_of(service).operation_names)
