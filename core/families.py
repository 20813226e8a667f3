"""Use cases of families: sign in, refresh, look, sign out. Verifies, submits, signs after the commit; knows no HTTP."""

import secrets
import time

from core import access, beginning, ending, family, judgement, subject, token
from core.access import AccessClaims, Refusal
from core.behind import Behind
from core.dpop import Proof as KeyProof
from core.factor import Proof
from core.issued import Absent, Denied, Issued, Look, Present
from core.issuer import Issuer
from core.omissions import Omissions
from core.once import once
from core.scope import ALL, Asked
from core.token import Token
from core.tools import Tools
from core.verdict import HOLDER, Answer, Verdict
from core.visit import SignIn, Visit
from events import family as past
from events import ids
from events.client import stream_of as client_stream
from events.decision import Decision, Moment, Streams
from events.families import Held
from events.ledger import Unavailable
from events.subject import PREFIX as SUBJECT
from events.subject import Subject


class Families:
    """Everything that applications and people do with their sessions."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self.issuer = Issuer(tools)
        self._omitted = Omissions()
        self._behind = Behind()

    def read_token(self, text: str) -> Token | None:
        """The refresh token, if it is one that we made. Costs one HMAC, no database.

        Raises Unavailable for one that another process may know: under a master key that has not come here yet.
        """
        return token.read(text, self._mac_key)

    def wall(self) -> float:
        """The clock that access tokens are held against, seconds since the epoch."""
        return self._tools.wall()

    def now(self) -> int:
        """The ledger's clock, that families are held against, microseconds."""
        return self._tools.now()

    async def sign_in(self, command: SignIn, visit: Visit) -> Issued | Denied:
        """Begin a family. Raises Unavailable, and Busy when too many passwords wait to be checked."""
        owner = await self.verified(command, visit)
        return owner if isinstance(owner, Denied) else await self.begin(owner, command, visit)

    async def verified(self, command: SignIn, visit: Visit) -> Subject | Denied:
        """Whose name and password these are. Raises Unavailable and Busy."""
        tools = self._tools
        name = subject.compared(command.name)
        throttled = await tools.limits.login(visit.presence.network, name)
        if throttled is not None:
            return Denied(Verdict.THROTTLED, throttled.retry_after)
        owner = await tools.subjects.named(name)
        if owner is None:
            tools.nobody()
            await tools.hasher.verify_nobody(command.password)
            return Denied(Verdict.INVALID)
        blocked, fits = self._is_blocked(owner, visit), beginning.admits(owner, command.client)
        if not await tools.hasher.verify(owner.password, command.password) or blocked or not fits:
            # A right password that may not be used here is no quicker or slower than a wrong one: no commit either way.
            self._note_failure(owner, command, visit)
            return Denied(Verdict.BLOCKED if blocked else Verdict.INVALID)
        return owner

    async def begin(self, owner: Subject, command: SignIn, visit: Visit, proof: Proof | None = None) -> Issued | Denied:
        """Begin a family for somebody whose password (but for a passkey alone) and factor were looked at."""
        tools = self._tools
        nonce = secrets.token_bytes(token.NONCE_BYTES)
        begin = self.issuer.to_begin(owner, command, visit, nonce)._replace(proof=proof)
        signing = tools.keys.signing
        rule = beginning.begin(begin)
        if command.key is not None:
            rule = once(command.key.use, rule, Answer(Verdict.PROOF))
        answer = await tools.ledger.submit(beginning.needs(begin), rule, visit.origin, visit.arrived)
        if answer.verdict is not Verdict.BEGUN:
            return Denied(answer.verdict)
        await tools.limits.logged_in(visit.presence.network, owner.name)
        tools.signed_in(owner.name)
        if command.password and tools.hasher.needs_rehash(owner.password):
            self._behind.begin(self._rehash(owner, command.password))
        return self.issuer.issued(answer, nonce, signing)

    async def refresh(
        self,
        presented: Token,
        client: str,
        carriage: str,
        visit: Visit,
        asked: Asked = ALL,
        proof: KeyProof | None = None,
    ) -> Issued | Denied:
        """Use a refresh token. Raises Unavailable; nothing is used up then."""
        throttled = await self._tools.limits.refresh(presented.family, visit.presence.network)
        if throttled is not None:
            return Denied(Verdict.THROTTLED, throttled.retry_after, presented.family)
        command = self.issuer.to_refresh(
            presented, client, carriage, visit, asked, proof, self._omitted.of(presented.family)
        )
        signing = self._tools.keys.signing  # who cannot sign must not use the token up
        ledger = self._tools.ledger
        answer = await ledger.submit(family.named(command), family.refresh(command), visit.origin, visit.arrived)
        self._omitted.count(presented.family, answer)
        if answer.verdict in {Verdict.ROTATED, Verdict.RETRIED}:
            return self.issuer.issued(answer, presented.nonce, signing)
        return Denied(answer.verdict, 0, presented.family, answer.reason)

    async def refuse_foreign(self, stream: bytes, visit: Visit) -> None:
        """Write down that an access token of this family came from another client. Raises Unavailable."""
        decide = family.refuse_foreign(stream, self._omitted.of(stream))
        self._omitted.count(stream, await self._tools.about_family(stream, decide, visit))

    async def look(self, presented: Token, client: str, carriage: str, visit: Visit) -> Look:
        """Judge a token by the same rule as a refresh, on what is read now; uses nothing up and writes nothing.

        Only `current` may be relied on: this knows nothing of faults of the ledger, which lengthen the leeway.
        """
        tools = self._tools
        states = await tools.families.seen(presented.family, client_stream(client))
        now = tools.now()
        waited = max(0, int((time.monotonic() - visit.arrived) * 1_000_000))
        rule = family.check(self.issuer.to_refresh(presented, client, carriage, visit))
        decision = rule(states, Moment(now, now, now - waited, 0))
        assert isinstance(decision, Decision)  # noqa: S101 - `seen` reads all that the rule names
        answer: Answer = decision.verdict
        return Look(answer.verdict, answer.family, states.subject(answer.family.subject) if answer.family else None)

    async def sign_out(self, presented: Token, visit: Visit) -> Answer:
        """End the family of any genuine token of it, old or new; no alarm. Idempotent."""
        decide = ending.revoke(presented.family, HOLDER, "logout", nonce=presented.nonce_hash)
        return await self._tools.about_family(presented.family, decide, visit)

    async def sign_out_everywhere(self, presented: Token, visit: Visit) -> Answer:
        """End all families of the holder of a token whose family lives. Idempotent."""
        decide = ending.revoke_all_by(presented.family, presented.nonce_hash, "logout_all")
        return await self._tools.about_family(presented.family, decide, visit)

    async def revoke(
        self, stream: bytes, actor: str, reason: str, visit: Visit | None = None, *, note: str = "", ticket: str = ""
    ) -> Answer:
        """Staff, a user or the command line ends one family. Idempotent."""
        decide = ending.revoke(stream, actor, reason, note, ticket)
        return await self._tools.about_family(stream, decide, visit)

    async def authenticate(self, bearer: str, audience: str = "") -> Present | Absent:
        """Who presents an access token: signature and claims, then family and subject as committed now.

        It must be for us, unless another `audience` is named.
        """
        tools = self._tools
        terms = tools.terms
        meant = audience or terms.audience
        claims = access.verify(bearer, tools.keys.ring, issuer=terms.issuer, audience=meant, now=tools.wall())
        if not isinstance(claims, AccessClaims):
            return Absent(claims)
        held = await tools.families.get(ids.parse(past.PREFIX, claims.sid))
        if held is None or held.subject is None or not _are_of(claims, held.family) or not self.lives(held):
            return Absent(Refusal.ENDED, claims)
        return Present(claims, held.family, held.subject)

    def lives(self, held: Held) -> bool:
        """Whether tokens of the family count: by what is committed and by the client as last read."""
        tools, state = self._tools, held.family
        over = judgement.ended(
            state, held.subject, tools.client_of(state.client), held.log, tools.terms.defaults, tools.now()
        )
        return over is None

    async def change_password(self, present: Present, current: str, new: str, visit: Visit) -> Issued | Denied:
        """Every family of the user ends, a new one begins. The caller has checked that the new password may be one."""
        tools, owner = self._tools, present.subject
        throttled = await tools.limits.login(visit.presence.network, owner.name)
        if throttled is not None:
            return Denied(Verdict.THROTTLED, throttled.retry_after)
        was = present.family
        command = SignIn(owner.name, current, was.client, was.carriage, was.device)
        if not await tools.hasher.verify(owner.password, current):
            self._note_failure(owner, command, visit)
            return Denied(Verdict.INVALID)
        signing = tools.keys.signing
        hashed = await tools.hasher.hash(new)
        nonce = secrets.token_bytes(token.NONCE_BYTES)
        begin = self.issuer.to_begin(owner, command, visit, nonce, was.jkt)._replace(replaces=was.id)
        decide = subject.change_password(begin, hashed)
        answer = await tools.ledger.submit(beginning.needs(begin), decide, visit.origin, visit.arrived)
        if answer.verdict is not Verdict.BEGUN:
            return Denied(answer.verdict)
        await tools.limits.logged_in(visit.presence.network, owner.name)
        return self.issuer.issued(answer, nonce, signing)

    async def close(self) -> None:
        """Wait for what runs behind answers that were given: counting of wrong passwords."""
        await self._behind.close()

    def _mac_key(self, number: int) -> bytes | None:
        key = self._tools.master.refresh_key(number)
        if key is None and self._tools.elsewhere(number):
            raise Unavailable
        return key

    def _is_blocked(self, owner: Subject, visit: Visit) -> bool:
        """Whether many wrong passwords make this network wait; the decision looks again."""
        tools = self._tools
        network = self.issuer.tags(visit.presence)(tools.master.current, owner.id).network
        return beginning.is_blocked(owner, network, int(tools.wall() * 1_000_000))

    def _note_failure(self, owner: Subject, command: SignIn, visit: Visit) -> None:
        """Count a wrong password behind the answer, which waits for no commit and so tells nothing by its time."""
        master = self._tools.master
        network = self.issuer.tags(visit.presence)(master.current, owner.id).network
        decide = subject.fail(owner.id, command.client, network)
        streams = Streams(subjects=frozenset((owner.id,)))
        self._behind.begin(self._tools.ledger.submit(streams, decide, visit.origin))

    async def _rehash(self, owner: Subject, password: str) -> None:
        hashed = await self._tools.hasher.hash(password)
        decide = subject.rehash(owner.id, hashed, owner.password_version)
        await self._tools.ledger.submit(Streams(subjects=frozenset((owner.id,))), decide)


def _are_of(claims: AccessClaims, state: past.Family) -> bool:
    return ids.to_text(SUBJECT, state.subject) == claims.sub and state.client == claims.client_id
