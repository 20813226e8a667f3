"""Ports for servers of tests: each is handed out once, whatever the server behind it takes besides."""

import socket
from concurrent.futures import ThreadPoolExecutor

from tests import ports, vaults
from tests.ports import free_port
from tests.vaults import Vault


def test_nobody_is_given_a_port_that_somebody_else_has() -> None:
    with ThreadPoolExecutor(8) as askers:
        given = list(askers.map(lambda _: free_port(), range(64)))
    assert 64 == len(set(given))


def test_those_that_follow_are_handed_out_with_the_first() -> None:
    first = free_port(following=3)
    assert free_port() not in range(first, first + 4)


def test_one_that_is_in_use_is_not_free() -> None:
    port = free_port()
    assert ports._is_free(port)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        assert not ports._is_free(port)


def test_a_vault_that_takes_the_next_port_too_takes_it_from_nobody() -> None:
    vaults.needed()
    made, following = Vault(), free_port()  # before it serves: then the port would be passed over anyway
    with made as vault, socket.socket() as other:
        assert 0 == other.connect_ex(("127.0.0.1", vault.port + 1)), "it has no cluster port any more: give that back"
        assert following != vault.port + 1
