"""Which hosts and addresses our own HTTP calls may reach: public ones, and what `[events] allowed_targets` names. Pure.

A webhook's URL must not become a way into the network this program stands in: to the cloud's metadata, to Redis, to an
admin page. So everything is refused that is not plainly public, also when an IPv4 address is dressed up as IPv6.
Sources: IANA's special-purpose registries for IPv4 and IPv6 (RFC 6890), RFC 6052 (NAT64), RFC 3056 (6to4).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from yarl import URL

from config.errors import Refused

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
# Every spelling of IPv4 that inet_aton reads and people do not: 127.1, 2130706433, 0x7f.0.0.1, 0177.0.0.1.
_NUMBERS = re.compile(r"(0x[0-9a-f]*|[0-9]+)(\.(0x[0-9a-f]*|[0-9]+))*", re.IGNORECASE)
_LONGEST_URL = 2048

_NOT_PUBLIC_IPV4 = tuple(
    IPv4Network(one)
    for one in (
        "0.0.0.0/8",  # this network; 0.0.0.0 reaches loopback
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers' NAT; metadata of some clouds
        "127.0.0.0/8",
        "168.63.129.16/32",  # looks public: metadata and agents of Azure
        "169.254.0.0/16",  # link-local; metadata of most clouds
        "172.16.0.0/12",
        "192.0.0.0/24",  # protocol assignments; metadata of Oracle's cloud
        "192.0.2.0/24",
        "192.31.196.0/24",
        "192.52.193.0/24",
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",
        "192.175.48.0/24",
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
# Global unicast is all that is public in IPv6: unspecified, loopback, unique local (metadata of AWS), link-local,
# site-local, multicast and the mapped forms lie outside of it.
_GLOBAL_UNICAST = IPv6Network("2000::/3")
_NOT_PUBLIC_IPV6 = tuple(
    IPv6Network(one)
    for one in (
        "2001::/23",  # protocol assignments: Teredo, benchmarks, ORCHID
        "2001:db8::/32",
        "2002::/16",  # 6to4 carries an IPv4 address
        "3fff::/20",
    )
)
_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class AllowedTargets:
    """What may be reached beside public addresses."""

    names: frozenset[str] = frozenset()
    networks: tuple[Network, ...] = ()

    @classmethod
    def of(cls, entries: Iterable[str]) -> "AllowedTargets":
        """From `[events] allowed_targets`. Raises Refused for what is no name, address or network."""
        names, networks, wrong = set(), [], []
        for entry in entries:
            name = entry.strip().lower().rstrip(".")
            try:
                networks.append(ip_network(name.removeprefix("[").removesuffix("]"), strict=False))
            except ValueError:
                ascii_name = _ascii(name)
                if not _HOST.fullmatch(ascii_name) or _NUMBERS.fullmatch(ascii_name):
                    wrong.append(entry)
                names.add(ascii_name)
        if wrong:
            raise Refused(f"[events] allowed_targets: no name, address or network: {', '.join(map(repr, wrong))}")
        return cls(frozenset(names), tuple(networks))

    def has_host(self, host: str) -> bool:
        """Whether the host of a URL is named here, or is an address that lies in a network named here."""
        if host.rstrip(".") in self.names:
            return True
        address = _literal(host)
        return address is not None and self._has_address(address)

    def may_reach(self, address: Address) -> bool:
        """Whether an address is public or lies in a network named here."""
        return self._has_address(address) or is_public(address)

    def _has_address(self, address: Address) -> bool:
        plain = _without_dress(address)
        return any(plain in network or address in network for network in self.networks)


def is_public(address: Address) -> bool:
    """Whether it is an address of the public internet and of nobody in particular."""
    plain = _without_dress(address)
    if isinstance(plain, IPv4Address):
        return not any(plain in network for network in _NOT_PUBLIC_IPV4)
    return plain in _GLOBAL_UNICAST and not any(plain in network for network in _NOT_PUBLIC_IPV6)


def url_mistake(url: str, allowed: AllowedTargets) -> str:
    """What is wrong with a URL that is to be called; "" = nothing that can be told before its name is looked up."""
    if len(url) > _LONGEST_URL or re.search(r"[\x00-\x20\x7f]", url):
        return f"must be a URL of at most {_LONGEST_URL} characters without spaces"
    try:
        parsed = URL(url)
        is_plain = parsed.raw_user is None and parsed.raw_password is None and bool(parsed.port)
    except ValueError:
        return "must be a URL"
    if parsed.scheme not in {"https", "http"} or not parsed.raw_host:
        return "must begin with https:// and a host"
    if not is_plain:
        return "must have no user and no password in it, and a port between 1 and 65535"
    return _host_mistake(parsed.scheme, parsed.raw_host, allowed)


def _host_mistake(scheme: str, host: str, allowed: AllowedTargets) -> str:
    literal, bare = _literal(host), host.rstrip(".")
    if literal is None and (_NUMBERS.fullmatch(bare) or not _HOST.fullmatch(bare)):
        return "must have a host that is a name or an ordinary address"
    if literal is not None and not allowed.may_reach(literal):
        return "must have a public address, unless [events] allowed_targets names it"
    if scheme == "http" and not allowed.has_host(host):
        return "must begin with https://, unless [events] allowed_targets names the host"
    return ""


def _literal(host: str) -> Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _without_dress(address: Address) -> Address:
    """The IPv4 address that an IPv6 address stands for by RFC 4291 or RFC 6052, else the address."""
    if isinstance(address, IPv6Address) and (address in _MAPPED or address in _NAT64):
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _ascii(name: str) -> str:
    try:
        return URL.build(scheme="http", host=name).raw_host or ""
    except ValueError:
        return ""
