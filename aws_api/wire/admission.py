"""Who may ask: a known key's signature, or with `[api] trust_loopback` a caller of this machine.

A caller of this machine is a connection from a loopback address, to a loopback name, that nobody passed on: a header of
a proxy, or of a web page that a browser shows (a page may call ports of this machine, also under a name of its own),
makes it a stranger, whose signature counts.
"""

import ipaddress
from datetime import datetime
from typing import Final

from aiohttp import web

from aws_api.wire.access_keys import AccessKey, AccessKeyFile
from aws_api.wire.failures import NotAdmitted
from aws_api.wire.signature import MISMATCH, Received, check_time, is_right, read_shown

UNKNOWN_KEY: Final = "The security token included in the request is invalid."
#: Headers that a proxy adds, and one that browsers add.
PASSED_ON: Final = (
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Server",
    "X-Real-IP",
    "Via",
    "CF-Connecting-IP",
    "True-Client-IP",
    "X-Client-IP",
    "X-Envoy-External-Address",
    "Origin",
)


def admitted(received: Received, service: str, keys: AccessKeyFile, now: datetime) -> AccessKey:
    """The key that signed the request. Raises NotAdmitted; WrongKey when the keys cannot be read."""
    shown = read_shown(received, service)
    key = keys.find(shown.access_key_id)
    # Keys of ours have no session token: one that comes along belongs to temporary credentials of somebody else.
    if key is None or any(value.strip() for value in received.values("x-amz-security-token")):
        raise NotAdmitted("unknown_key", UNKNOWN_KEY)
    check_time(shown, now)
    if not is_right(received, shown, key.secret):
        raise NotAdmitted("wrong_signature", MISMATCH)
    return key


def is_of_this_machine(request: web.Request) -> bool:
    """Whether the request comes from a program of this machine, as far as can be seen."""
    peer = request.transport.get_extra_info("peername") if request.transport is not None else None
    if not isinstance(peer, tuple) or not _is_loopback(str(peer[0])):
        return False
    return _is_loopback_name(request.headers.get("Host", "")) and not any(name in request.headers for name in PASSED_ON)


def _is_loopback(address: str) -> bool:
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return bool((mapped or found).is_loopback)


def _is_loopback_name(host: str) -> bool:
    name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
    return name.lower() == "localhost" or name.lower().endswith(".localhost") or _is_loopback(name)
