"""A small S3 beside the SES: as much as functions need that put a message somewhere and name the place.

PutObject, GetObject, HeadObject, DeleteObject, CreateBucket, HeadBucket, ListBuckets; paths `/s3/BUCKET/KEY` only.
A bucket is made by the first put into it. Nothing is verified but checksums; what is not understood and would change
the outcome is refused with NotImplemented, not passed over. Contents are bounded (s3_objects.py): the oldest go.
"""

import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import formatdate
from urllib.parse import unquote

from aiohttp import web

from simulator.s3_body import Checksums, content_length, framed_chunks, is_chunked, plain_chunks
from simulator.s3_objects import MAX_OBJECT_BYTES, Objects, Place, StoredObject
from simulator.s3_refusals import S3_REFUSALS, S3Refused, buckets_xml, error_xml

S3 = web.AppKey("s3", Objects)
PREFIX = "/s3"
MAX_KEY_BYTES = 1024
#: more than S3 allows now: what it allowed once
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]")
_RANGE = re.compile(r"bytes=(\d{0,15})-(\d{0,15})")
#: given back with the object
_KEPT = ("Content-Type", "Cache-Control", "Content-Disposition", "Content-Language", "Expires")
#: parameters that change nothing here
_KNOWN_PARAMETERS = frozenset({"versionId", "x-id", "max-buckets", "AWSAccessKeyId", "Signature", "Expires"})
#: of a URL that was signed for somebody else (version 2 above, version 4 here); signatures are not looked at
_SIGNED = "X-Amz-"
#: headers that would change the outcome
_NOT_HONOURED = frozenset(
    {"x-amz-copy-source", "x-amz-write-offset-bytes", "if-match", "if-none-match", "if-modified-since",
     "if-unmodified-since", "x-amz-server-side-encryption-customer-algorithm"}
)  # fmt: skip


def add_s3(app: web.Application, objects: Objects) -> None:
    """Put it on the application's port; the contents go when the application ends."""
    app[S3] = objects
    app.router.add_route("*", PREFIX + "{path:(?:/.*)?}", answer)
    app.on_cleanup.append(_close)


async def answer(request: web.Request) -> web.StreamResponse:
    """Every request under /s3."""
    path = unquote(request.raw_path.partition("?")[0].removeprefix(PREFIX), errors="surrogateescape")
    bucket, _, key = path.removeprefix("/").partition("/")
    request_id = uuid.uuid4().hex[:16].upper()
    try:
        response = await _operation(request, bucket, key)(request, bucket, key)
    except S3Refused as refused:
        status = S3_REFUSALS[refused.code][0]
        body = b"" if request.method == "HEAD" else error_xml(refused.code, refused.about, path, request_id)
        response = web.Response(status=status, body=body, content_type="application/xml")
        if not request.content.is_eof():
            response.force_close()  # what is left of the body is not read
    if not response.prepared:
        response.headers["x-amz-request-id"] = request_id
    return response


def _operation(
    request: web.Request, bucket: str, key: str
) -> Callable[[web.Request, str, str], Awaitable[web.StreamResponse]]:
    level = "object" if key else "bucket" if bucket else "service"
    if unknown := sorted(name for name in set(request.query) - _KNOWN_PARAMETERS if not name.startswith(_SIGNED)):
        raise S3Refused("NotImplemented", f"?{unknown[0]}")
    if found := sorted(_NOT_HONOURED & {name.lower() for name in request.headers}):
        raise S3Refused("NotImplemented", found[0])
    if bucket and not _BUCKET.fullmatch(bucket):
        raise S3Refused("InvalidBucketName")
    if len(key.encode("utf-8", "surrogateescape")) > MAX_KEY_BYTES:
        raise S3Refused("KeyTooLongError")
    operation = OPERATIONS.get((level, request.method))
    if operation is None:
        raise S3Refused("NotImplemented" if request.method in {"GET", "POST"} else "MethodNotAllowed", request.method)
    return operation


async def _list_buckets(request: web.Request, _bucket: str, _key: str) -> web.StreamResponse:
    made = {
        name: datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        for name, at in request.app[S3].buckets.items()
    }
    return web.Response(body=buckets_xml(made), content_type="application/xml")


async def _create_bucket(request: web.Request, bucket: str, _key: str) -> web.StreamResponse:
    if not request.app[S3].make_bucket(bucket, time.time()):
        raise S3Refused("TooManyBuckets")
    return web.Response(headers={"Location": f"/{bucket}"})


async def _head_bucket(request: web.Request, bucket: str, _key: str) -> web.StreamResponse:
    if bucket not in request.app[S3].buckets:
        raise S3Refused("NoSuchBucket")
    return web.Response()


async def _put_object(request: web.Request, bucket: str, key: str) -> web.StreamResponse:
    objects = request.app[S3]
    size_bytes = content_length(request.headers)
    if size_bytes > MAX_OBJECT_BYTES:
        raise S3Refused("EntityTooLarge")
    if not objects.make_bucket(bucket, time.time()):
        raise S3Refused("TooManyBuckets")
    place, checksums, trailers = objects.reserve(size_bytes), Checksums(), dict[str, str]()
    source = request.content
    chunks = framed_chunks(source, trailers) if is_chunked(request.headers) else plain_chunks(source)
    async for chunk in chunks:
        if place.written_bytes + len(chunk) > size_bytes:
            raise S3Refused("IncompleteBody", "the body is longer than it says")
        _write(place, chunk)
        checksums.update(chunk)
    if place.written_bytes < size_bytes:
        raise S3Refused("IncompleteBody")
    claimed = {**_checksums(request.headers), **_checksums(trailers)}
    checksums.compare({**claimed, **_lower(request.headers, ("content-md5",))})
    stored = StoredObject(
        bucket, key, uuid.uuid4().hex, place, checksums.etag, time.time(), {**_kept(request.headers), **claimed}
    )
    if not objects.publish(stored):
        raise S3Refused("OperationAborted")
    return web.Response(headers={"ETag": f'"{stored.etag}"', "x-amz-version-id": stored.version_id, **claimed})


def _write(place: Place, chunk: bytes) -> None:
    try:
        place.write(chunk)
    except OSError as error:
        raise S3Refused("InternalError", f"the simulator cannot write: {error.strerror}") from error


async def _get_object(request: web.Request, bucket: str, key: str) -> web.StreamResponse:
    stored = _found(request, bucket, key)
    first, last = _asked_range(request.headers.get("Range", ""), stored.place.size_bytes)
    is_whole = last - first + 1 == stored.place.size_bytes
    headers = {**_described(request, stored, is_whole=is_whole), "Content-Length": str(last - first + 1)}
    if "Range" in request.headers and stored.place.size_bytes:
        headers["Content-Range"] = f"bytes {first}-{last}/{stored.place.size_bytes}"
    response = web.StreamResponse(status=206 if "Content-Range" in headers else 200, headers=headers)
    await response.prepare(request)
    if request.method != "HEAD":
        await _send(response, stored.place, first, last)
    await response.write_eof()
    return response


async def _send(response: web.StreamResponse, place: Place, first: int, last: int) -> None:
    for chunk in place.chunks(first, last):
        await response.write(chunk)


async def _delete_object(request: web.Request, bucket: str, key: str) -> web.StreamResponse:
    if bucket not in request.app[S3].buckets:
        raise S3Refused("NoSuchBucket")
    request.app[S3].delete(bucket, key, request.query.get("versionId", ""))
    return web.Response(status=204)


def _found(request: web.Request, bucket: str, key: str) -> StoredObject:
    objects, version_id = request.app[S3], request.query.get("versionId", "")
    if bucket not in objects.buckets:
        raise S3Refused("NoSuchBucket")
    stored = objects.find(bucket, key, version_id)
    if stored is None:
        raise S3Refused("NoSuchVersion" if version_id and objects.has(bucket, key) else "NoSuchKey")
    return stored


def _described(request: web.Request, stored: StoredObject, *, is_whole: bool) -> dict[str, str]:
    """The headers of an object. Checksums are of all of it, and are given to those who ask."""
    asks = request.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED" and is_whole
    return {
        "ETag": f'"{stored.etag}"',
        "Last-Modified": formatdate(stored.stored_at, usegmt=True),
        "Accept-Ranges": "bytes",
        "x-amz-version-id": stored.version_id,
        **{name: value for name, value in stored.headers.items() if asks or not name.startswith("x-amz-checksum-")},
    }


def _asked_range(written: str, size_bytes: int) -> tuple[int, int]:
    """First and last byte; everything when nothing, or nothing that is understood, was asked for."""
    asked = _RANGE.fullmatch(written)
    if asked is None or asked[0] == "bytes=-":
        return 0, size_bytes - 1
    if not asked[1]:
        first, last = max(0, size_bytes - int(asked[2])), size_bytes - 1
    else:
        first, last = int(asked[1]), min(int(asked[2] or size_bytes), size_bytes - 1)
    if first > last:
        raise S3Refused("InvalidRange")
    return first, last


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    kept = {name: headers[name] for name in _KEPT if name in headers}
    kept.setdefault("Content-Type", "binary/octet-stream")
    encodings = [one.strip() for one in headers.get("Content-Encoding", "").split(",")]
    if encoding := ", ".join(one for one in encodings if one and one.lower() != "aws-chunked"):
        kept["Content-Encoding"] = encoding
    return {
        **kept,
        **{name.lower(): value for name, value in headers.items() if name.lower().startswith("x-amz-meta-")},
    }


def _checksums(headers: Mapping[str, str]) -> dict[str, str]:
    names = [name.lower() for name in headers if name.lower().startswith("x-amz-checksum-")]
    return _lower(headers, [name for name in names if name != "x-amz-checksum-algorithm"])


def _lower(headers: Mapping[str, str], names: tuple[str, ...] | list[str]) -> dict[str, str]:
    return {name: headers[name] for name in names if name in headers}


async def _close(app: web.Application) -> None:
    app[S3].close()


OPERATIONS: Mapping[tuple[str, str], Callable[[web.Request, str, str], Awaitable[web.StreamResponse]]] = {
    ("service", "GET"): _list_buckets,
    ("bucket", "PUT"): _create_bucket,
    ("bucket", "HEAD"): _head_bucket,
    ("object", "PUT"): _put_object,
    ("object", "GET"): _get_object,
    ("object", "HEAD"): _get_object,
    ("object", "DELETE"): _delete_object,
}
