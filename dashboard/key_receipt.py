"""What a receipt says of a revoked signing key: refused, unpublished, and until when its tokens live elsewhere.

Reads the ring anew with each look; changes nothing.
"""

from typing import Any, NamedTuple

from core.key_revocation import KIND
from core.policy import MAX_ACCESS_TTL
from dashboard import telling
from dashboard.door import Door
from events.action import Action
from events.key import ACTIVE, Key


class KeyProof(NamedTuple):
    """The key of an action as this process sees it just now. Times are microseconds."""

    kid: str
    position: int | None
    """Of its revocation in the log."""
    refused: bool
    """The ring that verifies does not hold it."""
    published: bool
    """Verifiers that ask now still get it."""
    signing: str
    """The key that signs now."""
    until: int
    """When the last token that it can have signed expires; 0 where it never signed."""


async def proof_of(door: Door, state: Action) -> KeyProof | None:
    """None where the action is about something else. Raises Unavailable."""
    if state.kind != KIND:
        return None
    await door.keys.refresh()
    states, ring = door.keys.states, door.keys.ring
    key = next((one for one in states if one.key == state.target), None)
    revoked = await door.actions.reader.revoked_keys()
    published = {one["kid"] for one in ring.jwks(door.now() / telling.SECOND)["keys"]}
    longest = max(door.actions.defaults.access_ttl, await door.actions.reader.longest_access())
    return KeyProof(
        state.target,
        next((one.position for one in revoked if one.action == state.id), None),
        state.target not in ring.verifying,
        state.target in published,
        next((one.key for one in states if one.status == ACTIVE), ""),
        _expired(key, states, state.started_at, min(longest, MAX_ACCESS_TTL)) if key and key.activated_at else 0,
    )


def as_json(proof: KeyProof) -> dict[str, Any]:
    """For programs."""
    return {
        "key": proof.kid,
        "position": proof.position,
        "tokens_refused": proof.refused,
        "published": proof.published,
        "signing_now": proof.signing or None,
        "tokens_usable_offline_until": telling.iso(proof.until) if proof.until else None,
    }


def _expired(key: Key, states: tuple[Key, ...], revoked_at: int, longest: int) -> int:
    """It signed until its successor did, or until its end; `longest` in seconds."""
    later = [one.activated_at for one in states if one.activated_at > key.activated_at]
    return min([revoked_at, *later]) + longest * telling.SECOND
