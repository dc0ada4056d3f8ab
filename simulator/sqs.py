"""The wire of SQS, JSON 1.0 (API version 2012-11-05): `X-Amz-Target` names the operation, any path will do.

Standard queues without message attributes; what is not understood and would change the outcome is refused by name.
"""

from collections.abc import Awaitable, Callable, Mapping

import orjson
from aiohttp import web

from simulator import sqs_messages
from simulator.caller import caller_of
from simulator.ids import new_request_id
from simulator.queues import MAX_QUEUES, NUMBERS, QUEUE_NAME, TEXTS, queue_arn
from simulator.simulated import SIMULATED
from simulator.sqs_calls import Call, SqsRefused

TARGET = "AmazonSQS."
#: code on the JSON wire: the code of the old Query protocol, which some clients still read
QUERY_CODES: Mapping[str, str] = {
    "QueueDoesNotExist": "AWS.SimpleQueueService.NonExistentQueue",
    "QueueNameExists": "QueueAlreadyExists",
    "ReceiptHandleIsInvalid": "ReceiptHandleIsInvalid",
    "MessageNotInflight": "AWS.SimpleQueueService.MessageNotInflight",
    "EmptyBatchRequest": "AWS.SimpleQueueService.EmptyBatchRequest",
    "TooManyEntriesInBatchRequest": "AWS.SimpleQueueService.TooManyEntriesInBatchRequest",
    "BatchEntryIdsNotDistinct": "AWS.SimpleQueueService.BatchEntryIdsNotDistinct",
    "UnsupportedOperation": "AWS.SimpleQueueService.UnsupportedOperation",
}


async def answer(request: web.Request) -> web.Response:
    """Every call of SQS."""
    request_id = new_request_id()
    operation = request.headers.get("X-Amz-Target", "").removeprefix(TARGET)
    try:
        call = await _read(request)
        return _json(200, await OPERATIONS.get(operation, _unknown)(call), request_id)
    except orjson.JSONDecodeError:
        return _refused(SqsRefused("SerializationException", "The request is not valid JSON."), request_id)
    except SqsRefused as refused:
        return _refused(refused, request_id)


async def _read(request: web.Request) -> Call:
    parameters = orjson.loads(await request.read() or b"{}")
    if not isinstance(parameters, dict):
        raise SqsRefused("InvalidParameterValue", "The request is not a JSON object.")
    origin, region = f"{request.scheme}://{request.host}", caller_of(request, "").region
    return Call(request.app[SIMULATED], parameters, origin, region)


async def _unknown(_call: Call) -> dict[str, object]:
    raise SqsRefused("UnsupportedOperation", "The simulator does not know this operation of SQS.")


async def _create(call: Call) -> dict[str, object]:
    name, queues = str(call.parameters.get("QueueName", "")), call.simulated.routes.queues
    attributes = _checked_attributes(call)
    if not QUEUE_NAME.fullmatch(name):
        raise SqsRefused("InvalidParameterValue", "Can only include alphanumeric characters, hyphens, or underscores.")
    known = queues.get(name)
    if known is None:
        if len(queues.names()) >= MAX_QUEUES:
            raise SqsRefused("OverLimit", f"The simulator keeps {MAX_QUEUES} queues.")
        known = queues.create(name, attributes)
    elif any(known.attributes.get(key) != value for key, value in attributes.items()):
        raise SqsRefused("QueueNameExists", "A queue already exists with the same name and a different value.")
    return {"QueueUrl": call.url_of(known)}


async def _delete_queue(call: Call) -> dict[str, object]:
    call.simulated.routes.queues.delete(call.queue().name)
    return {}


async def _get_url(call: Call) -> dict[str, object]:
    found = call.simulated.routes.queues.get(str(call.parameters.get("QueueName", "")))
    if found is None:
        raise SqsRefused("QueueDoesNotExist", "The specified queue does not exist.")
    return {"QueueUrl": call.url_of(found)}


async def _list(call: Call) -> dict[str, object]:
    queues, prefix = call.simulated.routes.queues, str(call.parameters.get("QueueNamePrefix", ""))
    found = [queues.get(name) for name in queues.names() if name.startswith(prefix)]
    return {"QueueUrls": [call.url_of(queue) for queue in found if queue is not None]}


async def _get_attributes(call: Call) -> dict[str, object]:
    queue = call.queue()
    call.simulated.routes.carry_all()
    ready, in_flight, delayed = queue.messages.counts(call.simulated.clock())
    known = {
        **{name: str(default) for name, (default, _, _) in NUMBERS.items()},
        **queue.attributes,
        "QueueArn": queue_arn(queue.name, call.region),
        "ApproximateNumberOfMessages": str(ready),
        "ApproximateNumberOfMessagesNotVisible": str(in_flight),
        "ApproximateNumberOfMessagesDelayed": str(delayed),
    }
    asked = call.names("AttributeNames")
    return {"Attributes": {name: value for name, value in known.items() if name in asked or "All" in asked}}


async def _set_attributes(call: Call) -> dict[str, object]:
    queue, attributes = call.queue(), _checked_attributes(call)
    call.simulated.routes.carry_all()
    queue.attributes.update(attributes)
    return {}


def _checked_attributes(call: Call) -> dict[str, str]:
    asked = call.parameters.get("Attributes") or {}
    if not isinstance(asked, dict):
        raise SqsRefused("InvalidAttributeValue", "Attributes is not an object.")
    for name, value in asked.items():
        if name not in NUMBERS and name not in TEXTS:
            raise SqsRefused("InvalidAttributeName", f"Unknown Attribute {name}.")
        if name in NUMBERS:
            _, lowest, highest = NUMBERS[name]
            if not (str(value).isdecimal() and lowest <= int(value) <= highest):
                raise SqsRefused("InvalidAttributeValue", f"Invalid value for the parameter {name}.")
    return {name: str(value) for name, value in asked.items()}


async def _purge(call: Call) -> dict[str, object]:
    queue = call.queue()
    call.simulated.routes.carry_all()
    queue.messages.purge()
    return {}


def _refused(refused: SqsRefused, request_id: str) -> web.Response:
    response = _json(
        refused.status, {"__type": f"com.amazonaws.sqs#{refused.code}", "message": refused.text}, request_id
    )
    fault = "Sender" if refused.status < 500 else "Receiver"
    response.headers["x-amzn-query-error"] = f"{QUERY_CODES.get(refused.code, refused.code)};{fault}"
    return response


def _json(status: int, answer: object, request_id: str) -> web.Response:
    return web.Response(
        status=status,
        body=orjson.dumps(answer),
        headers={"Content-Type": "application/x-amz-json-1.0", "x-amzn-RequestId": request_id},
    )


OPERATIONS: Mapping[str, Callable[[Call], Awaitable[dict[str, object]]]] = {
    "ReceiveMessage": sqs_messages.receive,
    "SendMessage": sqs_messages.send,
    "SendMessageBatch": sqs_messages.send_batch,
    "DeleteMessage": sqs_messages.delete,
    "DeleteMessageBatch": sqs_messages.delete_batch,
    "ChangeMessageVisibility": sqs_messages.change_visibility,
    "ChangeMessageVisibilityBatch": sqs_messages.change_visibility_batch,
    "CreateQueue": _create,
    "DeleteQueue": _delete_queue,
    "GetQueueUrl": _get_url,
    "ListQueues": _list,
    "GetQueueAttributes": _get_attributes,
    "SetQueueAttributes": _set_attributes,
    "PurgeQueue": _purge,
}
