"""What S3's refusals mean for an update, as a table.

A location that cannot be read is InvalidContentLocation: the caller must change something, as AWS has it for a wrong
region, a foreign bucket and a missing policy. S3 away, overloaded or failing is ServiceUnavailableException: the same
request may succeed.
"""

from typing import Final

from aws_api.wire.failures import OperationRefused
from config.aws_clients import AwsTrouble
from config.errors import TryLater

_OTHER_REGION: Final = "the bucket is in another region than the one this service asks"

#: S3's code → why the location cannot be read.
WORDS: Final[dict[str, str]] = {
    "NoSuchBucket": "there is no such bucket",
    "NoSuchKey": "there is no such key in the bucket",
    "404": "there is no such bucket or key",
    "NoSuchVersion": "there is no such version of the key",
    "MethodNotAllowed": "this version of the key is a delete marker",
    "InvalidArgument": "S3 does not take this version or key",
    "InvalidBucketName": "this is no name of a bucket",
    "AccessDenied": "access is denied: the bucket's policy or the credentials of this service do not allow it",
    "403": "access is denied: the bucket's policy or the credentials of this service do not allow it",
    "AllAccessDisabled": "all access to the bucket is disabled",
    "InvalidObjectState": "the object is archived and cannot be read at once",
    "InvalidAccessKeyId": "S3 does not know the credentials of this service",
    "SignatureDoesNotMatch": "S3 does not take the credentials of this service",
    "ExpiredToken": "the credentials of this service have expired",
    "InvalidToken": "S3 does not take the credentials of this service",
    "PermanentRedirect": _OTHER_REGION,
    "TemporaryRedirect": _OTHER_REGION,
    "301": _OTHER_REGION,
    "307": _OTHER_REGION,
    "AuthorizationHeaderMalformed": _OTHER_REGION,
    "IllegalLocationConstraintException": _OTHER_REGION,
}


def from_s3(location: object, trouble: AwsTrouble) -> OperationRefused | TryLater:
    """The error for a content that did not come."""
    match trouble.kind:
        case "credentials":
            words = "this service has no AWS credentials, or they cannot be used"
        case "request":
            words = f"S3 cannot be asked for it ({trouble.code})"
        case "unreachable":
            return away(location, "it cannot be reached")
        case "answer" if trouble.status >= 500 or trouble.code in {"SlowDown", "RequestTimeout", "Throttling"}:
            return away(location, f"it answers {trouble.code}")
        case "answer":
            words = WORDS.get(trouble.code, f"S3 answers {trouble.code}")
    return OperationRefused("InvalidContentLocation", f"{location} cannot be read: {words}.", detail=trouble.detail)


def away(location: object, words: str) -> TryLater:
    """S3 cannot say now."""
    return TryLater(f"{location} cannot be read now: S3 is away: {words}.")
