"""One send as it was asked for, the same for all three operations; nothing in it has been checked yet."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from aws_api.ses.refusals import Api

#: Both are measured on the base64 text (SES service quotas).
MAX_ENCODED_BYTES: Final[Mapping[Api, int]] = {"v1": 10 * 1024 * 1024, "v2": 40 * 1024 * 1024}


@dataclass(frozen=True, slots=True)
class SendRequest:
    """Empty = not said; then the headers of the message count."""

    api: Api
    #: As it will be in the tag ses:operation.
    operation: Literal["SendRawEmail", "SendEmail"]
    #: MIME, raw or composed here; lines may end with LF.
    content: bytes = field(repr=False)
    #: Who gets the bounces, before anybody that the message names; as written, perhaps with a name.
    source: str = ""
    destinations: tuple[str, ...] = ()
    #: As the model has them: Name, Value.
    tags: tuple[Mapping[str, Any], ...] = ()
    configuration_set: str = ""
    source_arn: str = ""
    from_arn: str = ""
    return_path_arn: str = ""
