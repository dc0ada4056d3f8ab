"""Who may ask: a known key's signature, or with `[api] trust_loopback` a caller of this machine.

A caller of this machine is a connection from a loopback address, to a loopback name, that nobody passed on: a header of
a proxy, HTTP/1.0 (which nginx speaks to what is behind it, and no AWS client), or a header of a web page that a browser
shows (a page may call ports of this machine, also under a name of its own) makes it a stranger, whose signature counts.
A proxy on this machine that speaks HTTP/1.1, puts a loopback name into Host and adds nothing cannot be told from a
program of this machine: beside one the setting must be off.
"""

import ipaddress
from datetime import datetime
from typing import Final

from aiohttp import HttpVersion11, web

from aws_api.wire.access_keys import AccessKey, AccessKeyFile
from aws_api.wire.failures import NotAdmitted
from aws_api.wire.signature import MISMATCH, Received, check_time, is_right, read_shown

UNKNOWN_KEY: Final = "The security token included in the request is invalid."
#: Headers that a proxy adds, and two that browsers add.
PASSED_ON: Final = (
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Port",
    "X-Forwarded-Proto",
    "X-Forwarded-Server",
    "X-Real-IP",
    "Via",
    "CF-Connecting-IP",
    "True-Client-IP",
    "X-Client-IP",
    "X-Envoy-External-Address",
    "Origin",
    "Referer",
)
#: What a browser says about a request that no page of another origin began.
_OWN_SITE: Final = frozenset({"none", "same-origin"})


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
    names = request.headers.getall("Host", [])
    return len(names) == 1 and _is_loopback_name(names[0]) and not _is_passed_on(request)


def _is_passed_on(request: web.Request) -> bool:
    return (
        request.version < HttpVersion11
        or any(name in request.headers for name in PASSED_ON)
        or any(site not in _OWN_SITE for site in request.headers.getall("Sec-Fetch-Site", []))
    )


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
