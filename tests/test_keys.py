"""The use cases of the key ring, through a real ledger on a real file."""

import asyncio
import hashlib
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import select

from core.key import Verdict
from core.keys import KeyPolicy, Keys, KeyUnavailable
from core.master import MasterKeys
from events import schema
from events.commit import Clock
from events.key import ACTIVE, NEXT, RETIRED, REVOKED, Key
from events.ledger import Ledger
from events.store import Store
from tests.check import found_in_store
from tests.databases import set_clock

ONE, TWO = (hashlib.sha256(name).hexdigest() for name in (b"one", b"two"))
MASTER = MasterKeys.parse(ONE)
DAY = 24 * 3600 * 1_000_000
POLICY = KeyPolicy(algorithm="EdDSA", period=90 * DAY, lead=DAY, keep=DAY)


class Service:
    """A ledger and as many processes' rings as a test wants, under a clock that a test turns."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.now = 1_800_000_000_000_000
        self.ledger = Ledger(store.writer(Clock(wall=lambda: self.now / 1_000_000)))
        self.readers = store.readers()

    @property
    def now(self) -> int:
        return self._now

    @now.setter
    def now(self, now: int) -> None:
        self._now = now
        set_clock(self.store, now / 1_000_000)

    def keys(self, master: MasterKeys = MASTER, policy: KeyPolicy = POLICY) -> Keys:
        return Keys(self.ledger, self.read, master, policy, lambda: self.now)

    async def read(self) -> list[Key]:
        async with self.readers.connect() as connection:
            return [Key(*row) for row in await connection.execute(select(schema.keys))]

    async def close(self) -> None:
        await self.ledger.close()
        await self.readers.dispose()


@pytest.fixture
async def service(store: Store) -> AsyncIterator[Service]:
    made = Service(store)
    yield made
    await made.close()


def statuses(keys: Keys) -> list[str]:
    return sorted(one.status for one in keys.states)


async def test_the_first_start_makes_a_key_that_signs_and_one_that_is_published(service: Service) -> None:
    keys = service.keys()
    await keys.ensure()
    assert [ACTIVE, NEXT] == statuses(keys)
    assert keys.signing.kid in keys.ring.verifying


async def test_two_processes_that_start_at_once_share_one_ring(service: Service) -> None:
    first, second = service.keys(), service.keys()
    await asyncio.gather(first.ensure(), second.ensure())
    assert first.signing.kid == second.signing.kid
    assert [ACTIVE, NEXT] == statuses(first) == statuses(second)


async def test_a_second_start_changes_nothing(service: Service) -> None:
    first, second = service.keys(), service.keys()
    await first.ensure()
    await second.ensure()
    assert first.states == second.states


async def test_the_job_rotates_when_the_key_is_due_and_not_before(service: Service) -> None:
    keys = service.keys()
    await keys.ensure()
    service.now += POLICY.period - 1_000_000
    assert Verdict.EARLY == await keys.rotate_if_due()
    service.now += 2_000_000
    assert Verdict.ROTATED == await keys.rotate_if_due()
    assert [ACTIVE, NEXT, RETIRED] == statuses(keys)


async def test_two_jobs_at_once_rotate_once(service: Service) -> None:
    first, second = service.keys(), service.keys()
    await first.ensure()
    await second.ensure()
    service.now += POLICY.period
    verdicts = await asyncio.gather(first.rotate_if_due(), second.rotate_if_due())
    assert [Verdict.EARLY, Verdict.ROTATED] == sorted(verdicts)
    assert 3 == len(await service.read())


async def test_a_person_rotates_early_only_by_force(service: Service) -> None:
    keys = service.keys()
    await keys.ensure()
    before = keys.signing.kid
    assert Verdict.EARLY == await keys.rotate("cli")
    assert Verdict.ROTATED == await keys.rotate("cli", force=True)
    assert before != keys.signing.kid
    assert before in keys.ring.verifying


async def test_the_key_that_signs_next_was_known_to_everybody_before(service: Service) -> None:
    first, second = service.keys(), service.keys()
    await first.ensure()
    await second.ensure()
    await first.rotate("cli", force=True)
    assert first.signing.kid != second.signing.kid
    assert first.signing.kid in second.ring.verifying


async def test_another_process_follows_with_its_refresh(service: Service) -> None:
    first, second = service.keys(), service.keys()
    await first.ensure()
    await second.ensure()
    await first.rotate("cli", force=True)
    assert [True, False] == [await second.refresh(), await second.refresh()]
    assert first.signing.kid == second.signing.kid


async def test_a_revoked_key_is_gone_with_the_answer_and_another_signs(service: Service) -> None:
    keys = service.keys()
    await keys.ensure()
    kid = keys.signing.kid
    assert Verdict.REVOKED == await keys.revoke(kid, "compromised", "staff:alice", note="seen in a log")
    assert kid != keys.signing.kid
    assert kid not in keys.ring.verifying
    assert [ACTIVE, NEXT, REVOKED] == statuses(keys)


async def test_revoking_works_from_a_ring_that_is_out_of_date(service: Service) -> None:
    first, second = service.keys(), service.keys()
    await first.ensure()
    await second.ensure()
    kid = first.signing.kid
    await first.rotate("cli", force=True)
    assert [Verdict.REVOKED, Verdict.UNCHANGED] == [await second.revoke(kid, "compromised", "cli") for _ in range(2)]
    assert Verdict.UNKNOWN == await second.revoke("other", "compromised", "cli")


async def test_two_revocations_at_once_both_hold(service: Service) -> None:
    first, second = service.keys(), service.keys()
    await first.ensure()
    await second.ensure()
    active, following = first.signing.kid, next(kid for kid in first.ring.verifying if kid != first.signing.kid)
    found = await asyncio.gather(
        first.revoke(active, "compromised", "cli"), second.revoke(following, "compromised", "cli")
    )
    await first.refresh()
    assert [Verdict.REVOKED] * 2 == list(found)
    assert set() == {active, following} & set(first.ring.verifying)
    assert first.signing.kid in first.ring.verifying


async def test_a_slow_reader_does_not_bring_a_revoked_key_back(service: Service) -> None:
    keys = service.keys()
    await keys.ensure()
    kid = keys.signing.kid
    await asyncio.gather(keys.refresh(), keys.revoke(kid, "compromised", "cli"), keys.refresh())
    assert kid not in keys.ring.verifying


async def test_another_algorithm_is_published_at_the_next_start_and_signs_when_it_was_long_enough(
    service: Service,
) -> None:
    await service.keys().ensure()
    keys = service.keys(policy=POLICY._replace(algorithm="ES256"))
    await keys.ensure()
    assert ["EdDSA", Verdict.EARLY] == [keys.signing.algorithm, await keys.rotate_if_due()]
    service.now += POLICY.lead + 1_000_000  # ledger time runs on while the test's clock stands
    assert [Verdict.ROTATED, "ES256"] == [await keys.rotate_if_due(), keys.signing.algorithm]


async def test_a_new_master_key_wraps_new_keys_and_still_opens_old_ones(service: Service) -> None:
    await service.keys().ensure()
    keys = service.keys(MasterKeys.parse(f"2:{TWO},1:{ONE}"))
    await keys.ensure()
    await keys.rotate("cli", force=True)
    assert {1, 2} == {one.wrapped_by for one in keys.states}
    assert keys.signing.kid in keys.ring.verifying


async def test_a_master_key_of_another_ledger_is_noticed_at_start(service: Service) -> None:
    await service.keys().ensure()
    with pytest.raises(KeyUnavailable, match="cannot be unwrapped"):
        await service.keys(MasterKeys.parse(TWO)).ensure()


async def test_before_anything_is_loaded_nothing_signs_and_nothing_verifies(service: Service) -> None:
    keys = service.keys()
    with pytest.raises(KeyUnavailable):
        _ = keys.signing
    assert {} == keys.ring.verifying
    assert {"keys": []} == keys.ring.jwks(0)


async def test_no_private_key_is_stored_unwrapped(service: Service) -> None:
    keys = service.keys()
    await keys.ensure()
    privates = [MASTER.unwrap(one.wrapped_by, one.key, one.wrapped) or b"" for one in keys.states]
    assert [32 < len(one) for one in privates] == [True, True]
    assert set() == found_in_store(service.store, [one[-32:] for one in privates])
