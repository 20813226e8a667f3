"""One code at two places at once, over the real ledger: one of them signs in, whatever the engine and the process."""

import asyncio
import json
import secrets
from collections import Counter
from multiprocessing.synchronize import Barrier
from pathlib import Path

from core import beginning, client, codes, factor, subject, token
from core.beginning import Begin
from core.factor import Code, Given, Proof, Recovery
from core.policy import DASHBOARD, Policy
from core.verdict import Answer, Verdict
from events import factor as past
from events import ids
from events.client import ClientRegistered, stream_of
from events.decision import Change, Decision, Streams
from events.ledger import Ledger
from events.postgres_store import PostgresStore
from events.private import Account
from events.store import Store
from events.stores import store_at
from events.subject import PREFIX
from tests.check import check, events_of
from tests.holders import ALICE, CAME, jti, people, tags
from tests.tables import url_of
from tests.test_postgres_crash import SPAWN
from tests.test_races import opened

NAME = ids.to_text(PREFIX, ALICE)
ADDED = past.SubjectFactorAdded(actor="subject", subject=NAME, factor="phone", kind="totp")
CODES = tuple(codes.hashed(codes.written(bytes([number] * codes.BYTES))) or "" for number in range(codes.COUNT))
MADE = past.SubjectRecoveryCodesMade(actor="subject", subject=NAME, count=codes.COUNT)


async def staff(ledger: Ledger) -> None:
    """Alice is an admin with an app and ten recovery codes."""
    await people(ledger)
    registered = ClientRegistered(actor="system", client=DASHBOARD)
    await ledger.submit(Streams(clients=frozenset((stream_of(DASHBOARD),))), client.register(registered))
    alice = Streams(subjects=frozenset((ALICE,)))
    await ledger.submit(alice, subject.change_roles(ALICE, "admin", "cli"))
    changes = (Change(ALICE, ADDED, Account(wrapped="w")), Change(ALICE, MADE, Account(secret=" ".join(CODES))))
    await ledger.submit(alice, lambda _states, _moment: Decision(None, changes))


async def sign_in(ledger: Ledger, given: Given) -> Verdict:
    command = Begin(
        family=ids.new_id(10**15, secrets.token_bytes(ids.RANDOM_BYTES)),
        subject=ALICE,
        client=DASHBOARD,
        carriage="cookie",
        nonce=token.hash_nonce(secrets.token_bytes(16)),
        key=1,
        jti=jti(),
        tags=tags,
        defaults=Policy(),
        password_version=1,
        proof=Proof(given, secrets.token_hex(8), factor.SIGN_IN),
    )
    answer: Answer = await ledger.submit(beginning.needs(command), beginning.begin(command), CAME)
    return answer.verdict


async def test_one_code_at_two_writers_signs_in_once(store: Store) -> None:
    async with opened(store) as one, opened(store) as other:
        await staff(one)
        for number in range(codes.COUNT):
            for given in (Code("phone", number + 1), Recovery(CODES[number])):
                found = await asyncio.gather(sign_in(one, given), sign_in(other, given))

                assert {Verdict.BEGUN: 1, Verdict.FACTOR: 1} == Counter(found)
    check(store)


async def test_of_a_thousand_guesses_at_once_five_are_looked_at_even_if_one_is_right(store: Store) -> None:
    async with opened(store) as ledger:
        await staff(ledger)
        alice = Streams(subjects=frozenset((ALICE,)))
        wrong = [ledger.submit(alice, factor.fail(ALICE, DASHBOARD, "totp", "wrong", "cafe")) for _ in range(1000)]
        *_, right = await asyncio.gather(*wrong, sign_in(ledger, Code("phone", 1)))

    stored = Counter(event.name for event in events_of(store))
    assert (Verdict.THROTTLED, 5) == (right, stored["subject.factor_failed"])


async def _give(url: str, rounds: int, together: Barrier, told: Path) -> None:
    ledger = Ledger(store_at(url).writer())
    await ledger.probe()
    verdicts = []
    for number in range(rounds):
        await asyncio.to_thread(together.wait, 60)
        verdicts.append(await sign_in(ledger, Code("phone", number + 1)))
    told.write_text(json.dumps(verdicts))  # noqa: ASYNC240 - nobody waits
    await ledger.close()


def _giving(url: str, rounds: int, together: Barrier, told: Path) -> None:
    asyncio.run(_give(url, rounds, together, told))


async def test_one_code_at_two_processes_signs_in_once(postgres_store: PostgresStore, tmp_path: Path) -> None:
    """Only PostgreSQL takes two processes that serve."""
    ledger, rounds = Ledger(postgres_store.writer()), 20
    await staff(ledger)
    await ledger.close()
    together, url, files = SPAWN.Barrier(2), url_of(postgres_store), [tmp_path / "one", tmp_path / "other"]
    both = [SPAWN.Process(target=_giving, args=(url, rounds, together, file)) for file in files]
    for process in both:
        process.start()
    for process in both:
        await asyncio.to_thread(process.join, 90)
    answers = [json.loads(file.read_text()) for file in files]

    assert [0, 0] == [process.exitcode for process in both]
    assert [[Verdict.BEGUN, Verdict.FACTOR]] * rounds == [sorted(pair) for pair in zip(*answers, strict=True)]
    check(postgres_store)
