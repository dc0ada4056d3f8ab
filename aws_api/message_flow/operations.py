"""The message flow's operations: which function carries out each, and what of the model is taken otherwise."""

from typing import Final

from aws_api.message_flow.get_content import get_raw_message_content
from aws_api.message_flow.put_content import put_raw_message_content
from aws_api.wire.services import Offer, Service
from config.settings import MessageFlowSettings

#: What GetRawMessageContent can refuse is this alone; so an id that cannot be one is unknown.
_ID: Final = {"messageId": "ResourceNotFoundException"}
_S3_NAMES: Final = dict.fromkeys(
    [f"content.s3Reference.{name}" for name in ("bucket", "key", "objectVersion")], "InvalidContentLocation"
)
#: The model's patterns refuse names that S3 takes, the sample of AWS's own page among them.
_S3_SHAPES: Final = frozenset({"s3BucketIdType", "s3KeyIdType", "s3VersionType"})


def message_flow_service(settings: MessageFlowSettings) -> Service:
    """The service as the settings want it."""
    lenient = frozenset[str]() if settings.strict_s3_names else _S3_SHAPES
    return Service(
        "workmailmessageflow",
        {
            "GetRawMessageContent": Offer(get_raw_message_content, _ID),
            "PutRawMessageContent": Offer(put_raw_message_content, _ID | _S3_NAMES, lenient),
        },
    )
