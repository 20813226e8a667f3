"""Somebody with a refresh token, over the real ledger and the real rules, without HTTP or passwords."""

import secrets
from base64 import urlsafe_b64encode

from core import beginning, client, ending, family, log, subject, token
from core.judgement import Refresh
from core.policy import WEB, Policy
from core.token import Token
from core.verdict import Answer, Tags, Verdict
from events import ids
from events.client import ClientRegistered, stream_of
from events.decision import Origin, Streams
from events.ledger import Ledger
from events.log import STREAM
from events.private import Context

ORIGIN = "ledger.example"
ALICE = ids.new_id(10**15, b"alice....")
DEFAULTS = Policy()
CAME = Origin("AAAAAAAAAAAAAAAA", Context(ip="192.0.2.7", agent="Mozilla/5.0 Firefox/140.0"))


def tags(_number: int, _owner: bytes) -> Tags:
    """The same device and network always."""
    return Tags("device-tag.", "network-tag")


def jti() -> str:
    return urlsafe_b64encode(secrets.token_bytes(16))[:22].decode()


async def people(ledger: Ledger, leeway: int = -1) -> None:
    """What every ledger has: its name, a client, and alice; each only where it is not there yet."""
    await ledger.submit(Streams(logs=frozenset((STREAM,))), log.start(ORIGIN))
    registered = ClientRegistered(actor="system", client=WEB, leeway=leeway)
    await ledger.submit(Streams(clients=frozenset((stream_of(WEB),))), client.register(registered))
    command = subject.Register(ALICE, "alice", "$argon2id$of-alice", "", "cli")
    await ledger.submit(Streams(subjects=frozenset((ALICE,))), subject.register(command))


async def begin(ledger: Ledger, policy: Policy = DEFAULTS, arrived: float | None = None) -> Token:
    """A new family of alice; its first token."""
    nonce, stream = secrets.token_bytes(token.NONCE_BYTES), ids.new_id(10**15, secrets.token_bytes(ids.RANDOM_BYTES))
    command = beginning.Begin(
        family=stream,
        subject=ALICE,
        client=WEB,
        carriage="body",
        nonce=token.hash_nonce(nonce),
        key=1,
        jti=jti(),
        tags=tags,
        defaults=policy,
        password_version=1,
        device="a laptop",
    )
    answer: Answer = await ledger.submit(beginning.needs(command), beginning.begin(command), CAME, arrived)
    assert answer.verdict is Verdict.BEGUN
    return Token(1, stream, nonce, 1)


async def refresh(ledger: Ledger, presented: Token, policy: Policy = DEFAULTS, arrived: float | None = None) -> Answer:
    """Present a token."""
    command = Refresh(presented, WEB, "body", tags, 1, jti(), policy)
    answer: Answer = await ledger.submit(family.named(command), family.refresh(command), CAME, arrived)
    return answer


def successor(presented: Token, answer: Answer) -> Token:
    """The token that such an answer carries."""
    assert answer.family is not None
    return presented._replace(generation=answer.family.generation)


async def revoke(ledger: Ledger, stream: bytes) -> Answer:
    """Staff end a family."""
    decide = ending.revoke(stream, "cli", "staff", "looked odd")
    answer: Answer = await ledger.submit(Streams(families=frozenset((stream,))), decide)
    return answer
