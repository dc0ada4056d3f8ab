"""moto as CloudWatch, EventBridge, Firehose, SNS and SQS, and events to give to them."""

import contextlib
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import boto3
import orjson
import pytest
from moto.server import ThreadedMotoServer

from config.settings import DataSettings, EventsSettings, Settings
from sending_events.configuration_sets.records import EventDestination, Kind
from sending_events.destinations.destination import Destination
from sending_events.destinations.opening import DestinationContext, make_context, open_target

ACCOUNT = "123456789012"


@contextlib.contextmanager
def running_moto() -> Iterator[str]:
    """Its URL."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        url = f"http://{host}:{port}"
        urllib.request.urlopen(f"{url}/moto-api/reset", data=b"").close()  # its memory is the process's
        yield url
    finally:
        server.stop()


def point_to(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The ordinary environment, as an operator sets it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)


def client(service: str, url: str) -> Any:
    """The unmodified boto3, as the receiver's own program."""
    return boto3.client(service, region_name="us-east-1", endpoint_url=url)


@contextlib.asynccontextmanager
async def opened(
    kind: Kind, target: dict[str, Any], folder: Path, redis: Any = None, *, allowed: tuple[str, ...] = ()
) -> AsyncIterator[Destination]:
    """A destination `dest` of the set `set`."""
    settings = Settings(data=DataSettings(dir=folder), events=EventsSettings(allowed_targets=allowed))
    context: DestinationContext = make_context(settings, redis)
    try:
        yield open_target("set", EventDestination("dest", True, frozenset({"Send"}), kind, target), context)
    finally:
        await context.close()


def an_event(number: int = 1, event_type: str = "Send", **more: Any) -> bytes:
    """One record as the publisher renders it."""
    name = {"Rendering Failure": "failure", "DeliveryDelay": "deliveryDelay"}.get(event_type, event_type.lower())
    return orjson.dumps(
        {
            "eventType": event_type,
            "eventId": f"1700000000000-{number}",
            "mail": {
                "timestamp": "2026-11-21T10:00:00.123Z",
                "messageId": f"0102-{number}",
                "source": "sender@example.com",
                "destination": ["user@example.net"],
                "headers": [{"name": "X-Campaign", "value": "spring"}, {"name": "Subject", "value": "Grüße"}],
                "tags": {"sluice:message-id": [f"0102-{number}"], "team": ["shop"], "ses:source-ip": ["192.0.2.1"]},
            },
            name: {},
            **more,
        }
    )
