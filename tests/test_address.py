"""The client's address: right-most untrusted hop, and only from trusted proxies (attacks 23 and 32)."""

import ipaddress

import pytest

from core.address import client_address, network_of

PROXIES = (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("2001:db8:ffff::/48"))


def test_without_a_header_the_peer_is_the_client() -> None:
    assert client_address("203.0.113.7", "", PROXIES) == "203.0.113.7"


def test_a_peer_that_is_no_trusted_proxy_cannot_name_another_address() -> None:
    assert client_address("203.0.113.7", "198.51.100.1", PROXIES) == "203.0.113.7"
    assert client_address("203.0.113.7", "10.0.0.1", PROXIES) == "203.0.113.7"


def test_without_trusted_proxies_the_header_is_ignored() -> None:
    assert client_address("10.0.0.1", "198.51.100.1", ()) == "10.0.0.1"


def test_the_right_most_untrusted_hop_is_the_client() -> None:
    assert client_address("10.0.0.1", "192.0.2.66, 198.51.100.1, 10.0.0.2", PROXIES) == "198.51.100.1"


def test_what_the_client_wrote_into_the_header_changes_nothing() -> None:
    spoofed = ["127.0.0.1", "10.0.0.9", "garbage", "", ", , ,", "'; drop table", "x" * 9000]

    seen = {client_address("10.0.0.1", f"{text}, 198.51.100.1", PROXIES) for text in spoofed}

    assert seen == {"198.51.100.1"}


def test_when_every_hop_is_trusted_the_farthest_is_the_client() -> None:
    assert client_address("10.0.0.1", "10.9.9.9,10.0.0.2", PROXIES) == "10.9.9.9"


@pytest.mark.parametrize(
    "header",
    ["unknown", "198.51.100.1, not-an-address", "1.2.3", "0x7f.1", "2130706433", "fe80::1%eth0", "[", ":", "\ud800"],
)
def test_a_malformed_nearest_hop_leaves_the_peer(header: str) -> None:
    assert client_address("10.0.0.1", header, PROXIES) == "10.0.0.1"


def test_a_hop_behind_a_malformed_one_is_not_believed() -> None:
    assert client_address("10.0.0.1", "198.51.100.1, garbage, 10.0.0.2", PROXIES) == "10.0.0.1"


def test_more_hops_than_the_limit_end_at_a_malformed_one() -> None:
    header = ",".join(["198.51.100.1"] + ["10.0.0.2"] * 40)

    assert client_address("10.0.0.1", header, PROXIES) == "10.0.0.2"


@pytest.mark.parametrize(
    ("hop", "client"),
    [
        ("198.51.100.1:4711", "198.51.100.1"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
        ("::ffff:198.51.100.1", "198.51.100.1"),
    ],
)
def test_a_hop_is_written_in_one_way(hop: str, client: str) -> None:
    assert client_address("2001:db8:ffff::1", hop, PROXIES) == client


def test_an_ipv4_proxy_on_an_ipv6_socket_is_still_trusted() -> None:
    assert client_address("::ffff:10.0.0.1", "198.51.100.1", PROXIES) == "198.51.100.1"


def test_a_peer_without_an_address_has_none_whatever_the_header_says() -> None:
    assert client_address("", "198.51.100.1", PROXIES) == ""
    assert client_address("/run/socket", "198.51.100.1", PROXIES) == ""


@pytest.mark.parametrize(
    ("ip", "network"),
    [
        ("203.0.113.7", "203.0.113.0/24"),
        ("::ffff:203.0.113.7", "203.0.113.0/24"),
        ("2001:db8:1:2ff::1", "2001:db8:1:200::/56"),
        ("", ""),
        ("nonsense", ""),
    ],
)
def test_a_network_is_24_bits_of_ipv4_and_56_of_ipv6(ip: str, network: str) -> None:
    assert network_of(ip) == network


def test_hopping_through_the_64s_of_one_home_stays_in_one_network() -> None:
    assert len({network_of(f"2001:db8:1:2{i:02x}::1") for i in range(256)}) == 1
