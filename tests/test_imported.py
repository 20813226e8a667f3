"""Password hashes of other software: those of its own making are taken and fit, what costs too much is not taken."""

import base64
import hashlib
import os

import argon2
import bcrypt
import pytest

from core import imported
from core.passwords import Hasher
from tests.conftest import CHEAP

PASSWORD = "correct horse"
DATA = PASSWORD.encode()
SALT = b"0123456789abcdef"


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode().rstrip("=")


def scrypt(n: int, salt: bytes, length: int = 32, p: int = 1) -> bytes:
    return hashlib.scrypt(DATA, salt=salt, n=n, r=8, p=p, dklen=length)


def _hashes() -> dict[str, str]:
    ours = argon2.PasswordHasher(time_cost=2, memory_cost=64, parallelism=2)
    argon2i = argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1, type=argon2.Type.I)
    plain = bcrypt.hashpw(DATA, bcrypt.gensalt(4)).decode()
    digest = bcrypt.hashpw(hashlib.sha256(DATA).hexdigest().encode(), bcrypt.gensalt(4)).decode()
    django = base64.b64encode(scrypt(16, b"saltofdjango", 64, 5)).decode()
    return {
        "argon2id": ours.hash(DATA),
        "argon2i": argon2i.hash(DATA),
        "argon2 of Django": "argon2" + ours.hash(DATA),
        "bcrypt": plain,
        "bcrypt of PHP": plain.replace("$2b$", "$2y$"),
        "bcrypt of old": plain.replace("$2b$", "$2a$"),
        "bcrypt of Django": "bcrypt$" + plain,
        "bcrypt_sha256 of Django": "bcrypt_sha256$" + digest,
        "scrypt of passlib": f"$scrypt$ln=4,r=8,p=1${b64(SALT)}${b64(scrypt(16, SALT))}",
        "scrypt of Django": f"scrypt$saltofdjango$16$8$5${django}",
        "scrypt of Werkzeug": f"scrypt:16:8:1$saltofflask${scrypt(16, b'saltofflask', 64).hex()}",
    }


HASHES = _hashes()


@pytest.fixture(scope="module")
def hasher() -> Hasher:
    return Hasher(**CHEAP, threads=1)


@pytest.mark.parametrize("kind", HASHES)
async def test_a_hash_is_taken_and_only_its_password_fits(hasher: Hasher, kind: str) -> None:
    kept = imported.taken(HASHES[kind])

    assert kept is not None
    assert [True, False, False] == [await hasher.verify(kept, one) for one in (PASSWORD, PASSWORD + "r", "")]
    assert hasher.needs_rehash(kept)


async def test_a_hash_of_ours_is_not_made_again(hasher: Hasher) -> None:
    kept = imported.taken(await hasher.hash(PASSWORD))

    assert kept is not None
    assert not hasher.needs_rehash(kept)


async def test_bcrypt_looks_at_72_bytes_as_it_always_did(hasher: Hasher) -> None:
    long = "ä" * 40
    kept = bcrypt.hashpw(long.encode()[:72], bcrypt.gensalt(4)).decode()

    assert [True, True, False] == [await hasher.verify(kept, one) for one in (long, "ä" * 36 + "x", "ä" * 35)]


def test_a_hash_that_passlib_shows_in_its_documentation_fits() -> None:
    kept = "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E"

    assert imported.taken(kept) == kept
    assert [True, False] == [imported.matches(kept, one) for one in (b"password", b"passwords")]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain",
        "md5$salt$0123456789abcdef",
        "pbkdf2_sha256$600000$salt$abc",
        "$argon2id$v=19$m=1048576,t=2,p=1$c29tZXNhbHRzb21l$" + "a" * 43,
        "$argon2id$v=19$m=65536,t=99,p=1$c29tZXNhbHRzb21l$" + "a" * 43,
        "$argon2id$v=16$m=65536,t=2,p=1$c29tZXNhbHRzb21l$" + "a" * 43,
        "$2b$31$" + "a" * 53,
        "$2b$03$" + "a" * 53,
        "$2x$10$" + "a" * 53,
        "$2b$10$" + "a" * 52,
        "$scrypt$ln=31,r=8,p=1$c2FsdA$" + "a" * 43,
        "$scrypt$ln=10,r=8,p=99$c2FsdA$" + "a" * 43,
        "scrypt$salt$1000$8$1$" + "a" * 44,
        "scrypt:32768:0:1$salt$" + "0" * 128,
        "scrypt:32768:8:1$salt$" + "g" * 128,
        "$2b$10$" + "a" * 53 + "\n",
        "$2b$10$" + "a" * 600,
    ],
)
def test_what_is_unknown_or_costs_too_much_is_not_taken(text: str) -> None:
    assert None is imported.taken(text)


def test_no_bytes_make_a_check_fail_otherwise_than_by_saying_no() -> None:
    kept = [one for one in map(imported.taken, HASHES.values()) if one is not None and imported.is_foreign(one)]

    found = {imported.matches(one, data) for one in kept for data in (b"\0", os.urandom(1024), b"a\0b", b"")}

    assert {False} == found
