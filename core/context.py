"""Where a family is used from: the tags of a request, what of them changed, and what a client's policy says. Pure."""

from collections.abc import Callable

from core.presence import Presence
from core.verdict import Tags, TagsFor, Verdict
from events.client import OBSERVE, REVOKE, Client
from events.family import COUNTRY, DEVICE, NETWORK, Family

CountryOf = Callable[[str], str]
"""The country of an address, empty where it is not known."""


def tags_of(
    presence: Presence, key_of: Callable[[int], bytes | None], country_of: CountryOf, bound: str = ""
) -> TagsFor:
    """What rules compare of a request, once for each master key and owner; a `bound` key is a part of the device."""
    known: dict[tuple[int, bytes], Tags] = {}

    def tags(number: int, owner: bytes) -> Tags:
        found = known.get((number, owner))
        if found is None:
            key, country = key_of(number) or b"", country_of(presence.ip)
            found = Tags(
                presence.device_tag(key, owner, bound),
                presence.network_tag(key, owner),
                presence.country_tag(key, owner, country) if country else "",
            )
            known[number, owner] = found
        return found

    return tags


def changed(seen: Tags, state: Family) -> tuple[str, ...]:
    """What is other than at the family's last good use, of `events.family.CONTEXT` and in its order.

    A country that is not known, now or before, has not changed. Nor has that of a network which is the same: then it
    is the database of countries that was replaced.
    """
    if seen == (state.device_tag, state.network_tag, state.country_tag):
        return ()
    moved = seen.network != state.network_tag
    known = bool(seen.country and state.country_tag)
    differs = (
        (DEVICE, seen.device != state.device_tag),
        (NETWORK, moved),
        (COUNTRY, moved and known and seen.country != state.country_tag),
    )
    return tuple([what for what, is_so in differs if is_so])


def objection(changes: tuple[str, ...], app: Client) -> tuple[Verdict, str] | None:
    """What the client's policy says to these changes: to end the family goes before to refuse; None is to go on."""
    wishes = {DEVICE: app.on_device_change, NETWORK: app.on_network_change, COUNTRY: app.on_country_change}
    objecting = [what for what in changes if wishes[what] != OBSERVE]
    for what in objecting:
        if wishes[what] == REVOKE:
            return Verdict.REVOKED, reason_of(what)
    return (Verdict.REFUSED, reason_of(objecting[0])) if objecting else None


def reason_of(what: str) -> str:
    """The code of a refusal or an end because of a change."""
    return f"{what}_changed"


def came_of(reason: str) -> bool:
    """Whether a refusal or an end with this reason was a policy's answer to a change."""
    return reason in REASONS


REASONS = frozenset(map(reason_of, (DEVICE, NETWORK, COUNTRY)))
