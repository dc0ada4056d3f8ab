"""Which addresses and URLs may be called."""

from ipaddress import ip_address

import pytest

from config.errors import Refused
from sending_events.destinations.target_addresses import AllowedTargets, is_public, url_mistake

NOBODY = AllowedTargets()


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::8.8.8.8",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:169.254.169.254",
        "::ffff:0:8.8.8.8",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::8.8.8.8",
        "100::1",
        "2001::1",
        "2001:0:808:808::1",
        "2001:2::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "2002:808:808::1",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%1",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
        "4000::1",
    ],
)
def test_an_address_that_is_not_plainly_public_is_none(address):
    assert not is_public(ip_address(address))
    assert url_mistake(f"https://{f'[{address}]' if ':' in address else address}/x".replace("%", "%25"), NOBODY)


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "9.255.255.255",
        "11.0.0.1",
        "52.94.76.1",
        "100.63.255.255",
        "100.128.0.1",
        "172.15.255.255",
        "172.32.0.1",
        "2606:4700:4700::1111",
        "2a00:1450:4001:830::200e",
        "::ffff:8.8.8.8",
        "64:ff9b::8.8.8.8",
    ],
)
def test_public_addresses_are_public_also_behind_nat64(address):
    assert is_public(ip_address(address))
    assert url_mistake(f"https://{f'[{address}]' if ':' in address else address}/x", NOBODY) == ""


@pytest.mark.parametrize(
    "url",
    [
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.0.0.1/",
        "https://0177.0.0.1/",
        "https://127.0.0.1./",
        "https://user@example.com/",
        "https://user:secret@example.com/",
        "https://:secret@example.com/",
        "http://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "//example.com/",
        "example.com",
        "https:///path",
        "https://",
        "",
        "https://exa mple.com/",
        "https://example.com/a\r\nHost: b",
        "https://example.com:0/",
        "https://example.com:99999/",
        "https://[::1/",
        "https://a..b/",
        "https://" + "a" * 254 + "/",
        "https://example.com/" + "a" * 2048,
    ],
)
def test_a_url_that_may_not_be_called_has_a_mistake(url):
    assert url_mistake(url, NOBODY)


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com",
        "https://hooks.example.com:8443/a?b=c#d",
        "https://HOOKS.example.com./a",
        "https://bücher.example/",
        "https://my_host.example.com/",
        "https://1.example.com/",
        "https://localhost/",
    ],
)
def test_a_url_with_a_name_has_no_mistake_before_the_name_is_looked_up(url):
    assert url_mistake(url, NOBODY) == ""


def test_what_the_operator_allows_by_name_may_be_plain_http():
    allowed = AllowedTargets.of(["Hooks.Internal.", "10.1.0.0/16", "fd00::/8", "bücher.example", "[::1]"])
    for url in (
        "http://hooks.internal/x",
        "http://HOOKS.internal./x",
        "http://10.1.2.3/x",
        "http://[::ffff:10.1.2.3]/",
        "http://[fd00::5]/",
        "http://xn--bcher-kva.example/",
        "http://[::1]:80/",
    ):
        assert url_mistake(url, allowed) == "", url
    for url in ("http://other.internal/", "http://hooks.internal.example.com/", "https://10.2.0.1/", "http://1.1.1.1/"):
        assert url_mistake(url, allowed), url


def test_an_allowed_network_holds_addresses_in_every_dress():
    allowed = AllowedTargets.of(["10.1.0.0/16"])
    assert allowed.may_reach(ip_address("10.1.0.1"))
    assert allowed.may_reach(ip_address("::ffff:10.1.0.1"))
    assert allowed.may_reach(ip_address("64:ff9b::10.1.0.1"))
    assert not allowed.may_reach(ip_address("10.2.0.1"))


@pytest.mark.parametrize("entry", ["*.internal", "internal:8080", "http://internal", "10.0.0.0/33", "127.1", "", "a b"])
def test_an_entry_that_would_never_match_is_refused(entry):
    with pytest.raises(Refused, match="no name, address or network"):
        AllowedTargets.of(["good.example", entry])
