"""The tables. Column order of a projection is field order of its state. Creates nothing: see `migrations/`."""

from sqlalchemy import (
    BigInteger,
    Column,
    Dialect,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData()


class Bytes(LargeBinary):
    """Byte strings as the drivers take and give them: nothing is wrapped on the way in or copied on the way out."""

    def bind_processor(self, dialect: Dialect) -> None:  # noqa: ARG002
        return None

    def result_processor(self, dialect: Dialect, coltype: object) -> None:  # noqa: ARG002
        return None


SETTLED = {"settled": True}
"""An indexed column that the first fact says for good: saving a state again leaves it alone, and its index with it."""

events = Table(
    "events",
    metadata,
    Column("position", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("stream", Bytes, nullable=False),
    Column("version", Integer, nullable=False),
    Column("type", SmallInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("subject", Bytes),
    Column("client", Text),
    Column("actor", Text, nullable=False),
    Column("request", Bytes),
    Column("jti", Bytes),
    Column("action", Bytes),
    Column("body", Bytes, nullable=False),
    Column("leaf", Bytes, nullable=False),
    UniqueConstraint("stream", "version", name="events_stream_version"),
)

ORDINARY_ACTOR = "subject"
"""Nearly every event's actor. The index on actor leaves it out, so a search by actor also says `actor <> 'subject'`."""

SEARCH_COLUMNS = ("type", "subject", "client", "request", "jti", "action")
"""Each has an index, with the position behind it, which SQLite adds by itself; that on action is of actions only."""

event_private = Table(
    "event_private",
    metadata,
    Column("position", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", SmallInteger, primary_key=True, autoincrement=False),
    Column("salt", Bytes, nullable=False),
    Column("data", Bytes, nullable=False),
    Column("ip", Bytes),
    sqlite_with_rowid=False,
)

head = Table(
    "head",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("size", BigInteger, nullable=False),
    Column("frontier", Bytes, nullable=False),
    Column("last_at", BigInteger, nullable=False),
    Column("key_checks", Text, nullable=False),
    Column("signing_key", SmallInteger, nullable=False, server_default="0"),
    Column("signing_since", BigInteger, nullable=False, server_default="0"),
)
"""`key_checks`: number and check value of each master key that this ledger has been used with, as JSON.

`signing_key` is the one of them that signs, 0 before the first start, and `signing_since` when that began.
"""

SUSPICIOUS = "reused_at > 0 OR ended_by = 'policy'"
"""Families that are odd. Few are, so their index is small; a rotation does not touch it."""

families = Table(
    "families",
    metadata,
    Column("id", Bytes, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("subject", Bytes, nullable=False, info=SETTLED),
    Column("client", Text, nullable=False),
    Column("key", SmallInteger, nullable=False),
    Column("nonce", Text, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("carriage", Text, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("rotated_at", BigInteger, nullable=False),
    Column("idle_until", BigInteger, nullable=False),
    Column("ends_at", BigInteger, nullable=False),
    Column("auth_time", BigInteger, nullable=False),
    Column("amr", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("device_tag", Text, nullable=False),
    Column("network_tag", Text, nullable=False),
    Column("jti", Text, nullable=False),
    Column("access_until", BigInteger, nullable=False),
    Column("refusals", Text, nullable=False),
    Column("reused_at", BigInteger, nullable=False),
    Column("ended_at", BigInteger, nullable=False),
    Column("ended_by", Text, nullable=False),
    Column("ended_reason", Text, nullable=False),
    Column("device", Text, nullable=False),
    Column("acr", Text, nullable=False),
    Column("jkt", Text, nullable=False),
    Column("country_tag", Text, nullable=False),
    Column("changed", Text, nullable=False),
    Index("families_subject", "subject"),
    Index("families_suspicious", "id", sqlite_where=text(SUSPICIOUS), postgresql_where=text(SUSPICIOUS)),
    sqlite_with_rowid=False,
)

subjects = Table(
    "subjects",
    metadata,
    Column("id", Bytes, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("password", Text, nullable=False),
    Column("password_version", Integer, nullable=False),
    Column("roles", Text, nullable=False),
    Column("registered_at", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("blocked_until", BigInteger, nullable=False),
    Column("networks", Text, nullable=False),
    Column("client", Text, nullable=False),
    Column("external", Text, nullable=False),
    Column("factors", Text, nullable=False),
    Index("subjects_name", "name", unique=True),
    Index("subjects_external", "external"),
    Index("subjects_staff", "name", sqlite_where=text("roles <> ''"), postgresql_where=text("roles <> ''")),
    sqlite_with_rowid=False,
)

clients = Table(
    "clients",
    metadata,
    Column("id", Bytes, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("client", Text, nullable=False),
    Column("origins", Text, nullable=False),
    Column("access_ttl", Integer, nullable=False),
    Column("idle_ttl", Integer, nullable=False),
    Column("absolute_ttl", Integer, nullable=False),
    Column("leeway", Integer, nullable=False),
    Column("family_limit", Integer, nullable=False),
    Column("on_device_change", Text, nullable=False),
    Column("on_network_change", Text, nullable=False),
    Column("registered_at", BigInteger, nullable=False),
    Column("type", Text, nullable=False),
    Column("first_party", SmallInteger, nullable=False),
    Column("audiences", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("operator", SmallInteger, nullable=False),
    Column("secret", Text, nullable=False),
    Column("secret_at", BigInteger, nullable=False),
    Column("secret_before", Text, nullable=False),
    Column("before_until", BigInteger, nullable=False),
    Column("access_revoked", BigInteger, nullable=False),
    Column("dpop", Text, nullable=False),
    Column("keys", Text, nullable=False),
    Column("keys_only", SmallInteger, nullable=False),
    Column("on_country_change", Text, nullable=False),
    sqlite_with_rowid=False,
)

keys = Table(
    "keys",
    metadata,
    Column("id", Bytes, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("algorithm", Text, nullable=False),
    Column("public", Text, nullable=False),
    Column("wrapped", Text, nullable=False),
    Column("wrapped_by", SmallInteger, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("activated_at", BigInteger, nullable=False),
    Column("retire_at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

log = Table(
    "log",
    metadata,
    Column("id", Bytes, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("origin", Text, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("contexts_below", BigInteger, nullable=False),
    Column("recovered_at", BigInteger, nullable=False),
    Column("revoked_keys", Text, nullable=False),
    sqlite_with_rowid=False,
)

actions = Table(
    "actions",
    metadata,
    Column("id", Bytes, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("planned", Integer, nullable=False),
    Column("digest", Text, nullable=False),
    Column("begun_at", BigInteger, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("ticket", Text, nullable=False),
    Column("include_new", SmallInteger, nullable=False),
    Column("ended", Integer, nullable=False),
    Column("spared", Integer, nullable=False),
    Column("added", Integer, nullable=False),
    Column("query", Text, nullable=False),
    Column("note", Text, nullable=False),
    sqlite_with_rowid=False,
)

verifiers = Table(
    "verifiers",
    metadata,
    Column("client", Text, primary_key=True),
    Column("verifier", Text, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""How far each verifier has followed the revocations, as it said last. Beside the log: no event, no fold."""

leases = Table(
    "leases",
    metadata,
    Column("name", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("until", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Beside the log: which process does what is done once in a cluster."""

webhooks = Table(
    "webhooks",
    metadata,
    Column("id", Bytes, primary_key=True),
    Column("version", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("client", Text, nullable=False),
    Column("format", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("signals", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("query", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("registered_at", BigInteger, nullable=False),
    Column("wrapped", Text, nullable=False),
    Column("wrapped_by", SmallInteger, nullable=False),
    Column("secret_at", BigInteger, nullable=False),
    Column("before", Text, nullable=False),
    Column("before_by", SmallInteger, nullable=False),
    Column("before_until", BigInteger, nullable=False),
    Column("dead", Integer, nullable=False),
    sqlite_with_rowid=False,
)

webhook_cursors = Table(
    "webhook_cursors",
    metadata,
    Column("webhook", Bytes, primary_key=True),
    Column("position", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("failing_since", BigInteger, nullable=False),
    Column("not_before", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Beside the log: how far each webhook has come. What lies behind it in the log is still to be delivered."""

webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    Column("webhook", Bytes, primary_key=True),
    Column("position", BigInteger, primary_key=True),
    Column("lane", Bytes, nullable=False),
    Column("status", Text, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("due", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("answer", SmallInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Beside the log: events at or before a webhook's cursor that wait or are dead, and the last that were delivered.

Positions, times and codes; nothing of what was sent or answered.
"""
uses = Table(
    "uses",
    metadata,
    Column("value", Bytes, primary_key=True),
    Column("until", BigInteger, nullable=False),
    Index("uses_until", "until"),
    sqlite_with_rowid=False,
)
"""Values that count once and were used, by their hash. Beside the log: no event, no fold."""


processes = Table(
    "processes",
    metadata,
    Column("holder", Text, primary_key=True),
    Column("numbers", Text, nullable=False),
    Column("signs", SmallInteger, nullable=False),
    Column("until", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""Beside the log: which master keys each living process knows, the one that it would sign with first."""
