"""How S3 says no: code, HTTP status and text, in its XML."""

from collections.abc import Mapping
from xml.sax.saxutils import escape

#: code: (status, text); the texts are S3's
S3_REFUSALS: Mapping[str, tuple[int, str]] = {
    "BadDigest": (400, "The Content-MD5 or checksum value that you specified did not match what the server received."),
    "EntityTooLarge": (400, "Your proposed upload exceeds the maximum allowed size."),
    "IncompleteBody": (400, "The request body terminated unexpectedly."),
    "InternalError": (500, "We encountered an internal error. Please try again."),
    "InvalidArgument": (400, "Invalid Argument"),
    "InvalidBucketName": (400, "The specified bucket is not valid."),
    "InvalidRange": (416, "The requested range is not satisfiable"),
    "KeyTooLongError": (400, "Your key is too long"),
    "MethodNotAllowed": (405, "The specified method is not allowed against this resource."),
    "MissingContentLength": (411, "You must provide the Content-Length HTTP header."),
    "NoSuchBucket": (404, "The specified bucket does not exist"),
    "NoSuchKey": (404, "The specified key does not exist."),
    "NoSuchVersion": (404, "The specified version does not exist."),
    "NotImplemented": (501, "A header or parameter you provided implies functionality that is not implemented."),
    "OperationAborted": (409, "A conflicting conditional operation is currently in progress. Try again."),
    "TooManyBuckets": (400, "You have attempted to create more buckets than allowed."),
}


class S3Refused(Exception):  # noqa: N818 -- named after what the caller gets, as everywhere in this house
    """The request is answered with one of S3_REFUSALS; `about` says what of the request it is."""

    def __init__(self, code: str, about: str = "") -> None:
        super().__init__(code)
        self.code = code
        self.about = about


def error_xml(code: str, about: str, resource: str, request_id: str) -> bytes:
    """The body of an error answer."""
    text = S3_REFUSALS[code][1] + (f" ({about})" if about else "")
    members = {"Code": code, "Message": text, "Resource": resource, "RequestId": request_id}
    inside = "".join(f"<{name}>{escape(_allowed(value))}</{name}>" for name, value in members.items())
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<Error>{inside}</Error>'.encode()


def buckets_xml(buckets: Mapping[str, str]) -> bytes:
    """The answer to ListBuckets; name → ISO time."""
    inside = "".join(
        f"<Bucket><Name>{escape(name)}</Name><CreationDate>{made}</CreationDate></Bucket>"
        for name, made in sorted(buckets.items())
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<ListAllMyBucketsResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<Owner><ID>simulator</ID></Owner><Buckets>{inside}</Buckets></ListAllMyBucketsResult>"
    ).encode()


def _allowed(text: str) -> str:
    """XML 1.0 has no way to write control characters."""
    return "".join(sign if sign.isprintable() else "?" for sign in text)
