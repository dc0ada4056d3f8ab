"""The v2 wire: rest-json (API version 2019-09-27), of which SendEmail with raw content and GetAccount are served."""

from collections.abc import Mapping
from datetime import datetime

import orjson
from aiohttp import web

from simulator.ids import new_request_id
from simulator.refusals import INVALID, MALFORMED, Refused
from simulator.send_call import V2_MAX_ENCODED_BYTES, SendCall, decode_base64

#: far above any real call; base64 has none of these signs, so a large message does not come near
MAX_STRUCTURE_SIGNS = 10_000
ADDRESS_LISTS = ("ToAddresses", "CcAddresses", "BccAddresses")


def read_send_email(body: bytes) -> SendCall:
    """SendEmail with `Content.Raw`; the other kinds of content are refused by name."""
    call = _json_object(body)
    return SendCall(
        raw=decode_base64(_raw_data(call)),
        source=_text(call, "FromEmailAddress"),
        destinations=_destinations(_object(call, "Destination")),
        configuration_set=_text(call, "ConfigurationSetName"),
        tags=_tags(call),
        max_encoded_bytes=V2_MAX_ENCODED_BYTES,
    )


def _json_object(body: bytes) -> Mapping[str, object]:
    # Counted before parsing: sixty megabytes of "[" would become gigabytes of lists.
    if any(body.count(sign) > MAX_STRUCTURE_SIGNS for sign in (b",", b"[", b"{")):
        raise Refused(MALFORMED, "The request has too many members.")
    try:
        call = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Refused(MALFORMED, "The request is not valid JSON.") from error
    if not isinstance(call, dict):
        raise Refused(MALFORMED, "The request is not a JSON object.")
    return call


def _raw_data(call: Mapping[str, object]) -> bytes:
    content = _object(call, "Content")
    if "Raw" not in content:
        raise Refused(INVALID, "The simulator takes Content.Raw only, no Simple content and no Template.")
    data = _text(_object(content, "Raw"), "Data")
    return (data or "").encode("utf-8", "replace")


def _object(parent: Mapping[str, object], name: str) -> Mapping[str, object]:
    value = parent.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise Refused(MALFORMED, f"{name} is not an object.")
    return value


def _text(parent: Mapping[str, object], name: str) -> str | None:
    value = parent.get(name)
    if value is not None and not isinstance(value, str):
        raise Refused(MALFORMED, f"{name} is not a string.")
    return value or None


def _list(parent: Mapping[str, object], name: str) -> list[object]:
    value = parent.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        raise Refused(MALFORMED, f"{name} is not a list.")
    return value


def _destinations(destination: Mapping[str, object]) -> tuple[str, ...] | None:
    found: list[str] = []
    for name in ADDRESS_LISTS:
        for address in _list(destination, name):
            if not isinstance(address, str):
                raise Refused(MALFORMED, f"{name} holds something that is not a string.")
            found.append(address)
    return tuple(found) or None


def _tags(call: Mapping[str, object]) -> tuple[tuple[str, str], ...] | None:
    found: list[tuple[str, str]] = []
    for tag in _list(call, "EmailTags"):
        if not isinstance(tag, dict):
            raise Refused(MALFORMED, "EmailTags holds something that is not an object.")
        found.append((_text(tag, "Name") or "", _text(tag, "Value") or ""))
    return tuple(found) or None


def epoch_of(text: str) -> float:
    """Unix time of an ISO instant, as SDKs write it into a query."""
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError as error:
        raise Refused(INVALID, f"{text[:40]} is not an instant.") from error


def good(answer: Mapping[str, object]) -> web.Response:
    """An answer with status 200."""
    return _json(200, answer, new_request_id())


def sent(ses_message_id: str) -> web.Response:
    """The answer to an accepted SendEmail."""
    return _json(200, {"MessageId": ses_message_id}, new_request_id())


def account(quota: tuple[float, float, float], *, state: str, is_sandbox: bool) -> web.Response:
    """The answer to GetAccount; quota is Max24HourSend, MaxSendRate, SentLast24Hours."""
    described = {
        "DedicatedIpAutoWarmupEnabled": False,
        "EnforcementStatus": "SHUTDOWN" if state in ("paused_by_aws", "suspended") else "HEALTHY",
        "ProductionAccessEnabled": not is_sandbox,
        "SendQuota": dict(zip(("Max24HourSend", "MaxSendRate", "SentLast24Hours"), quota, strict=True)),
        "SendingEnabled": state == "running",
    }
    return _json(200, described, new_request_id())


def refused(refused: Refused) -> web.Response:
    """The error form of rest-json: the code in a header, the text as `message`."""
    response = _json(refused.refusal.rest_status, {"message": refused.text}, new_request_id())
    response.headers["x-amzn-ErrorType"] = refused.refusal.rest_code
    return response


def _json(status: int, answer: object, request_id: str) -> web.Response:
    return web.Response(
        status=status,
        body=orjson.dumps(answer),
        headers={"Content-Type": "application/json", "x-amzn-RequestId": request_id},
    )
