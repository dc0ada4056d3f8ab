"""What is done with the messages of a queue: received, put in, deleted, hidden longer or shorter."""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from simulator.queue import QueuedMessage
from simulator.queues import NUMBERS, NamedQueue
from simulator.simulated import Simulated
from simulator.sqs_calls import Call, SqsRefused

MAX_ENTRIES = 10
MAX_WAIT_SECONDS = 20


async def receive(call: Call) -> dict[str, object]:
    """Messages that are there, or that come within the wait."""
    queue = call.queue()
    most = call.number("MaxNumberOfMessages", 1, 1, MAX_ENTRIES)
    hidden_seconds = call.number("VisibilityTimeout", queue.number("VisibilityTimeout"), 0, 43_200)
    wait_seconds = call.number("WaitTimeSeconds", queue.number("ReceiveMessageWaitTimeSeconds"), 0, MAX_WAIT_SECONDS)
    simulated, end_at = call.simulated, call.simulated.clock() + wait_seconds
    while True:
        if simulated.settings.events_unavailable:
            raise SqsRefused("ServiceUnavailable", "The queue cannot be read now (events_unavailable).", 503)
        now = simulated.clock()
        while not queue.messages.has_ready(most, now) and simulated.routes.carry():
            now = simulated.clock()
        found = queue.messages.receive(most, hidden_seconds, now, int(simulated.unix_clock() * 1000))
        if found or now >= end_at or simulated.routes.queues.is_closed:
            asked = {*call.names("AttributeNames"), *call.names("MessageSystemAttributeNames")}
            messages = [_described(message, asked) for message in found]
            return {"Messages": messages} if messages else {}
        await _news(simulated, min(end_at, queue.messages.next_visible_at()) - now)


async def _news(simulated: Simulated, seconds: float) -> None:
    """Return when an event can be carried over, a message was put into a queue, or the time is up."""
    waits = (
        asyncio.ensure_future(simulated.feed.wait(simulated.routes.position, max(seconds, 0))),
        asyncio.ensure_future(simulated.routes.queues.news(seconds)),
    )
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for one in waits:
            one.cancel()
        await asyncio.gather(*waits, return_exceptions=True)


def _described(message: QueuedMessage, asked: set[str]) -> dict[str, object]:
    body = message.body()
    attributes = {
        "SenderId": "AIDAISIMULATED",
        "SentTimestamp": str(message.sent_ms),
        "ApproximateReceiveCount": str(message.receives),
        "ApproximateFirstReceiveTimestamp": str(message.first_received_ms),
    }
    shown = {name: value for name, value in attributes.items() if name in asked or "All" in asked}
    return {
        "MessageId": message.message_id,
        "ReceiptHandle": message.receipt,
        "MD5OfBody": _md5(body),
        "Body": body,
        **({"Attributes": shown} if shown else {}),
    }


async def send(call: Call) -> dict[str, object]:
    """One message."""
    return _put(call, call.queue(), call.parameters)


async def send_batch(call: Call) -> dict[str, object]:
    """Several."""
    queue = call.queue()
    return _each(call, lambda entry: _put(call, queue, entry))


def _put(call: Call, queue: NamedQueue, parameters: Mapping[str, Any]) -> dict[str, object]:
    body = parameters.get("MessageBody")
    if not isinstance(body, str) or not body:
        raise SqsRefused("MissingParameter", "The request must contain the parameter MessageBody.")
    if len(body.encode("utf-8", "surrogatepass")) > queue.number("MaximumMessageSize"):
        raise SqsRefused(
            "InvalidParameterValue", "One or more parameters are invalid. Reason: Message must be shorter."
        )
    for refused in ("MessageAttributes", "MessageGroupId", "MessageDeduplicationId"):
        if parameters.get(refused):
            raise SqsRefused("UnsupportedOperation", f"The simulator's queues have no {refused}.")
    delay = parameters.get("DelaySeconds", queue.number("DelaySeconds"))
    if not isinstance(delay, int) or not 0 <= delay <= NUMBERS["DelaySeconds"][2]:
        raise SqsRefused("InvalidParameterValue", f"Value {delay} for parameter DelaySeconds is invalid.")
    now = call.simulated.clock()
    message_id = queue.messages.put(lambda: body, int(call.simulated.unix_clock() * 1000), now + delay, now)
    call.simulated.routes.queues.wake()
    return {"MessageId": message_id, "MD5OfMessageBody": _md5(body)}


async def delete(call: Call) -> dict[str, object]:
    """One, by its receipt."""
    return _delete_one(call.queue(), call.parameters)


async def delete_batch(call: Call) -> dict[str, object]:
    """Several."""
    queue = call.queue()
    return _each(call, lambda entry: _delete_one(queue, entry))


def _delete_one(queue: NamedQueue, parameters: Mapping[str, Any]) -> dict[str, object]:
    if not queue.messages.delete(str(parameters.get("ReceiptHandle", ""))):
        raise SqsRefused("ReceiptHandleIsInvalid", "The input receipt handle is invalid.")
    return {}


async def change_visibility(call: Call) -> dict[str, object]:
    """How long a message that was received stays hidden."""
    return _change_one(call, call.queue(), call.parameters)


async def change_visibility_batch(call: Call) -> dict[str, object]:
    """Several."""
    queue = call.queue()
    return _each(call, lambda entry: _change_one(call, queue, entry))


def _change_one(call: Call, queue: NamedQueue, parameters: Mapping[str, Any]) -> dict[str, object]:
    seconds = parameters.get("VisibilityTimeout")
    if not isinstance(seconds, int) or not 0 <= seconds <= NUMBERS["VisibilityTimeout"][2]:
        raise SqsRefused("InvalidParameterValue", f"Value {seconds} for parameter VisibilityTimeout is invalid.")
    receipt = str(parameters.get("ReceiptHandle", ""))
    match queue.messages.change_visibility(receipt, seconds, call.simulated.clock()):
        case None:
            raise SqsRefused("ReceiptHandleIsInvalid", "The input receipt handle is invalid.")
        case False:
            raise SqsRefused("MessageNotInflight", "The message referred to is not in flight.")
    call.simulated.routes.queues.wake()
    return {}


def _each(call: Call, act: Callable[[Mapping[str, Any]], dict[str, object]]) -> dict[str, object]:
    """A batch: every entry succeeds or fails for itself."""
    entries = call.parameters.get("Entries") or []
    if not isinstance(entries, list) or not all(isinstance(one, dict) and _is_name(one.get("Id")) for one in entries):
        raise SqsRefused(
            "InvalidBatchEntryId", "The Id of a batch entry in a batch request doesn't abide by the specification."
        )
    if not entries:
        raise SqsRefused("EmptyBatchRequest", "There should be at least one entry in the request.")
    if len(entries) > MAX_ENTRIES:
        raise SqsRefused("TooManyEntriesInBatchRequest", f"Maximum number of entries per request are {MAX_ENTRIES}.")
    if len({entry.get("Id") for entry in entries}) < len(entries):
        raise SqsRefused("BatchEntryIdsNotDistinct", "Two or more batch entries have the same Id.")
    good: list[dict[str, object]] = []
    bad: list[dict[str, object]] = []
    for entry in entries:
        try:
            good.append({"Id": entry["Id"], **act(entry)})
        except SqsRefused as refused:
            bad.append({"Id": entry["Id"], "SenderFault": True, "Code": refused.code, "Message": refused.text})
    return {"Successful": good, "Failed": bad}


def _is_name(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 80


def _md5(text: str) -> str:
    return hashlib.md5(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
