"""Who may ask: a known key's signature, or with `[api] trust_loopback` a caller of this machine.

What the headers show (key, scope, clock) is looked at before the body is read, so that a stranger costs nothing; the
signature covers the body and is checked after it. A caller of this machine that signs by a known key is that key, with
its sender patterns; one that signs by an unknown key, or not at all, is nobody in particular.

A caller of this machine is a connection from a loopback address, to a loopback name, that nobody passed on: a header of
a proxy, HTTP/1.0 (which nginx speaks to what is behind it, and no AWS client), or a header of a web page that a browser
shows (a page may call ports of this machine, also under a name of its own) makes it a stranger, whose signature counts.
A proxy on this machine that speaks HTTP/1.1, puts a loopback name into Host and adds nothing cannot be told from a
program of this machine: beside one the setting must be off.
"""

import ipaddress
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from aiohttp import HttpVersion11, web

from aws_api.wire.access_keys import ID_BEGINNING, AccessKey, AccessKeyFile
from aws_api.wire.failures import NotAdmitted
from aws_api.wire.signature import MISMATCH, Received, Shown, check_time, is_right, read_shown

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
_KEY_ID: Final = re.compile(r"Credential=\s*(\w{1,128})/")


@dataclass(frozen=True, slots=True)
class Claim:
    """Who a request says that it is from; its signature is still to be checked."""

    shown: Shown
    access_key: AccessKey


def claim_of(received: Received, service: str, keys: AccessKeyFile, now: datetime) -> Claim:
    """What the headers show, without the body. Raises NotAdmitted; WrongKey when the keys cannot be read."""
    shown = read_shown(received, service)
    key = keys.find(shown.access_key_id)
    # Keys of ours have no session token: one that comes along belongs to temporary credentials of somebody else.
    if key is None or any(value.strip() for value in received.values("x-amz-security-token")):
        raise NotAdmitted("unknown_key", UNKNOWN_KEY)
    check_time(shown, now)
    return Claim(shown, key)


def admitted(received: Received, claim: Claim) -> AccessKey:
    """The key that signed the request. Raises NotAdmitted."""
    if not is_right(received, claim.shown, claim.access_key.secret):
        raise NotAdmitted("wrong_signature", MISMATCH)
    return claim.access_key


def names_known_key(request: web.Request, keys: AccessKeyFile) -> bool:
    """Whether the request says that it is signed by a key that is known here. Raises WrongKey.

    The file is not looked at for an id that none of ours has.
    """
    found = _KEY_ID.search(request.headers.get("Authorization", ""))
    return found is not None and found[1].startswith(ID_BEGINNING) and keys.find(found[1]) is not None


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
