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
)
"""`key_checks`: number and check value of each master key that this ledger has been used with, as JSON."""

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
    Index("families_subject", "subject"),
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
    Index("subjects_name", "name", unique=True),
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
