"""The three operations that send: what their parameters mean, put into one shape for taking.py.

SendEmail of both APIs is composed here and goes the same way as raw mail. Its From is the call's sender; the relay
sends raw mail, so the ARN that lets use the sender lets use the From as well.
"""

from collections.abc import Mapping
from typing import Any

from aws_api.ses.addresses import mailbox_of
from aws_api.ses.composing import composed
from aws_api.ses.envelope import MAX_RECIPIENTS
from aws_api.ses.refusals import SendRefused
from aws_api.ses.send_request import SendRequest
from aws_api.ses.tags import tags_of_parameters
from aws_api.ses.taking import take
from aws_api.wire.failures import OperationRefused
from aws_api.wire.off_loop import off_loop
from aws_api.wire.services import Call

#: What v2's SendEmail has and nothing here does; a send with one of them is refused by its name.
REFUSED_MEMBERS: Mapping[str, str] = {
    "ListManagementOptions": "there are no contact lists",
    "EndpointId": "there are no multi-region endpoints; routes are chosen by rules and settings",
    "TenantName": "there are no tenants",
}


async def send_raw_email(call: Call) -> Mapping[str, Any]:
    """v1."""
    given = call.parameters
    request = SendRequest(
        "v1",
        "SendRawEmail",
        given["RawMessage"]["Data"],
        source=given.get("Source", ""),
        destinations=tuple(given.get("Destinations", ())),
        tags=tuple(given.get("Tags", ())),
        configuration_set=given.get("ConfigurationSetName", ""),
        source_arn=given.get("SourceArn", ""),
        from_arn=given.get("FromArn", ""),
        return_path_arn=given.get("ReturnPathArn", ""),
    )
    return {"MessageId": await take(call, request)}


async def send_email(call: Call) -> Mapping[str, Any]:
    """v1. Bounces go to ReturnPath, else to Source."""
    given = call.parameters
    sender, return_path = given["Source"], given.get("ReturnPath", "")
    try:
        content = await off_loop(_size(given["Message"]), _composed, given, sender, given["Message"])
    except SendRefused as error:
        raise error.of("v1") from error
    request = SendRequest(
        "v1",
        "SendEmail",
        content,
        source=return_path or sender,
        destinations=_destinations(given),
        tags=tuple(given.get("Tags", ())),
        configuration_set=given.get("ConfigurationSetName", ""),
        source_arn=given.get("ReturnPathArn", "") if return_path else given.get("SourceArn", ""),
        from_arn=given.get("SourceArn", ""),
        return_path_arn=given.get("ReturnPathArn", ""),
    )
    return {"MessageId": await take(call, request)}


async def send_email_v2(call: Call) -> Mapping[str, Any]:
    """v2, with Content.Raw or Content.Simple. Bounces go to FeedbackForwardingEmailAddress, else to the sender."""
    given = call.parameters
    _check_members(given)
    sender, feedback = given.get("FromEmailAddress", ""), given.get("FeedbackForwardingEmailAddress", "")
    sender_arn, feedback_arn = (given.get(f"{name}IdentityArn", "") for name in _ADDRESSES_WITH_ARN)
    request = SendRequest(
        "v2",
        "SendEmail",
        await _content(given, sender),
        source=feedback or sender,
        destinations=_destinations(given),
        tags=tuple(given.get("EmailTags", ())),
        configuration_set=given.get("ConfigurationSetName", ""),
        source_arn=feedback_arn if feedback else sender_arn,
        from_arn=sender_arn,
        return_path_arn=feedback_arn,
    )
    return {"MessageId": await take(call, request)}


_ADDRESSES_WITH_ARN = ("FromEmailAddress", "FeedbackForwardingEmailAddress")


async def _content(given: Mapping[str, Any], sender: str) -> bytes:
    if "Raw" in given["Content"]:
        raw: bytes = given["Content"]["Raw"]["Data"]
        return raw
    simple = given["Content"]["Simple"]
    try:
        return await off_loop(_size(simple), _composed, given, sender, simple)
    except SendRefused as error:
        raise error.of("v2") from error


def _check_members(given: Mapping[str, Any]) -> None:
    kinds = [name for name in ("Raw", "Simple", "Template") if name in given["Content"]]
    if "Template" in kinds:
        raise OperationRefused("BadRequestException", "Content.Template is not offered here: send Simple or Raw.")
    if len(kinds) != 1:
        raise OperationRefused("BadRequestException", "Content must have exactly one of Raw and Simple.")
    if "Raw" in kinds and given.get("ReplyToAddresses"):
        reason = "ReplyToAddresses goes with Content.Simple; raw content has its own Reply-To header."
        raise OperationRefused("BadRequestException", reason)
    for name, why in REFUSED_MEMBERS.items():
        if name in given:
            raise OperationRefused("BadRequestException", f"{name} is not offered here: {why}.")


def _destinations(given: Mapping[str, Any]) -> tuple[str, ...]:
    lists = given.get("Destination", {})
    return tuple(one for kind in ("ToAddresses", "CcAddresses", "BccAddresses") for one in lists.get(kind, ()))


def _composed(given: Mapping[str, Any], sender: str, content: Mapping[str, Any]) -> bytes:
    """The message. Raises SendRefused, tags first as SES does."""
    tags_of_parameters([*given.get("Tags", ()), *given.get("EmailTags", ())])
    if not sender:
        raise SendRefused("Missing required header 'From'.")
    recipients = _destinations(given)
    if not recipients:
        raise SendRefused("Missing required header 'To'.")
    if len(recipients) > MAX_RECIPIENTS:
        raise SendRefused(f"Recipient count exceeds {MAX_RECIPIENTS}.")
    if not content["Body"]:
        raise SendRefused("Body must have Text, Html or both.")
    lists = given["Destination"]
    addresses = {
        "From": [sender],
        "To": lists.get("ToAddresses", ()),
        "Cc": lists.get("CcAddresses", ()),
        "Reply-To": given.get("ReplyToAddresses", ()),
    }
    headers = [(one["Name"], one["Value"]) for one in content.get("Headers", ())]
    return composed({name: [mailbox_of(one) for one in ones] for name, ones in addresses.items()}, content, headers)


def _size(content: Mapping[str, Any]) -> int:
    """How much there is to compose, about."""
    texts = [text.get("Data", "") for text in content.get("Body", {}).values()]
    return sum(map(len, texts)) + sum(len(one["RawContent"]) for one in content.get("Attachments", ()))
