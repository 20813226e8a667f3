"""The first schema: log, private rows, head, projections; the log append-only by triggers."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SEARCHED = ("type", "subject", "client", "request", "jti")
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Compared byte by byte on both engines."""


def upgrade() -> None:
    """Create everything on an empty database."""
    _create_log()
    _create_projections()
    _index_log()
    sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in SQLITE_TRIGGERS if sqlite else POSTGRES_TRIGGERS:
        op.get_bind().exec_driver_sql(statement)
    no_bytes = "x''" if sqlite else "''"
    op.get_bind().exec_driver_sql(
        f"INSERT INTO head (id, size, frontier, last_at, key_checks) VALUES (1, 0, {no_bytes}, 0, '{{}}')"
    )


def _create_log() -> None:
    position = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "events",
        sa.Column("position", position, primary_key=True, autoincrement=False),
        sa.Column("stream", sa.LargeBinary, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("type", sa.SmallInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("subject", sa.LargeBinary),
        sa.Column("client", TEXT),
        sa.Column("actor", TEXT, nullable=False),
        sa.Column("request", sa.LargeBinary),
        sa.Column("jti", sa.LargeBinary),
        sa.Column("action", sa.LargeBinary),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("leaf", sa.LargeBinary, nullable=False),
        sa.UniqueConstraint("stream", "version", name="events_stream_version"),
    )
    op.create_table(
        "event_private",
        sa.Column("position", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("kind", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("salt", sa.LargeBinary, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.Column("ip", sa.LargeBinary),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "head",
        sa.Column("id", sa.SmallInteger, primary_key=True, autoincrement=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("frontier", sa.LargeBinary, nullable=False),
        sa.Column("last_at", sa.BigInteger, nullable=False),
        sa.Column("key_checks", TEXT, nullable=False),
    )


def _index_log() -> None:
    # SQLite appends the rowid, which is the position, to each index by itself
    behind = [] if op.get_bind().dialect.name == "sqlite" else ["position"]
    for column in SEARCHED:
        op.create_index(f"events_{column}", "events", [column, *behind])
    ordinary = sa.text("actor <> 'subject'")
    op.create_index("events_actor", "events", ["actor", *behind], sqlite_where=ordinary, postgresql_where=ordinary)
    of_action = sa.text("action IS NOT NULL")
    op.create_index("events_action", "events", ["action", *behind], sqlite_where=of_action, postgresql_where=of_action)
    op.create_index("event_private_ip", "event_private", ["ip", "position"])


def _projection(name: str, *columns: sa.Column) -> None:  # type: ignore[type-arg]
    op.create_table(
        name,
        sa.Column("id", sa.LargeBinary, primary_key=True),
        sa.Column("version", sa.Integer, nullable=False),
        *columns,
        sqlite_with_rowid=False,
        # room in each page for the next version of a row, so that no index is touched when it changes
        postgresql_with={"fillfactor": 70},
    )


def _column(name: str, kind: type[sa.types.TypeEngine] | sa.types.TypeEngine = sa.BigInteger) -> sa.Column:  # type: ignore[type-arg]
    return sa.Column(name, kind, nullable=False)


def _create_projections() -> None:
    text, small, number = TEXT, sa.SmallInteger, sa.Integer
    _projection(
        "families",
        _column("status", text),
        _column("subject", sa.LargeBinary),
        _column("client", text),
        _column("key", small),
        _column("nonce", text),
        _column("generation"),
        _column("carriage", text),
        *(_column(name) for name in ("started_at", "rotated_at", "idle_until", "ends_at", "auth_time")),
        *(_column(name, text) for name in ("amr", "scope", "device_tag", "network_tag", "jti")),
        _column("access_until"),
        _column("refusals", text),
        _column("reused_at"),
        _column("ended_at"),
        *(_column(name, text) for name in ("ended_by", "ended_reason", "device")),
    )
    op.create_index("families_subject", "families", ["subject"])
    _projection(
        "subjects",
        *(_column(name, text) for name in ("status", "name", "password")),
        _column("password_version", number),
        _column("roles", text),
        _column("registered_at"),
        _column("failures", number),
        _column("blocked_until"),
        _column("networks", text),
    )
    op.create_index("subjects_name", "subjects", ["name"], unique=True)
    _projection(
        "clients",
        *(_column(name, text) for name in ("status", "client", "origins")),
        *(_column(name, number) for name in ("access_ttl", "idle_ttl", "absolute_ttl", "leeway", "family_limit")),
        *(_column(name, text) for name in ("on_device_change", "on_network_change")),
        _column("registered_at"),
    )
    _projection(
        "keys",
        *(_column(name, text) for name in ("status", "key", "algorithm", "public", "wrapped")),
        _column("wrapped_by", small),
        *(_column(name) for name in ("created_at", "activated_at", "retire_at")),
    )
    _projection(
        "log",
        _column("origin", text),
        *(_column(name) for name in ("started_at", "contexts_below", "recovered_at")),
    )
    _projection(
        "actions",
        *(_column(name, text) for name in ("status", "kind", "actor", "target")),
        _column("position"),
        _column("planned", number),
        _column("digest", text),
        *(_column(name) for name in ("begun_at", "started_at", "finished_at")),
        *(_column(name, text) for name in ("reason", "ticket")),
        _column("include_new", small),
        *(_column(name, number) for name in ("ended", "spared", "added")),
        *(_column(name, text) for name in ("query", "note")),
    )


# INSERT OR REPLACE deletes without firing delete triggers unless recursive_triggers is on, hence the insert guards.
SQLITE_TRIGGERS = (
    """CREATE TRIGGER events_dense BEFORE INSERT ON events
    WHEN new.position <> (SELECT coalesce(max(position) + 1, 0) FROM events)
      OR EXISTS (SELECT 1 FROM events WHERE stream = new.stream AND version = new.version)
    BEGIN SELECT raise(ABORT, 'events: positions are dense and nothing is replaced'); END""",
    """CREATE TRIGGER events_no_update BEFORE UPDATE ON events
    BEGIN SELECT raise(ABORT, 'events: append-only'); END""",
    """CREATE TRIGGER events_no_delete BEFORE DELETE ON events
    BEGIN SELECT raise(ABORT, 'events: append-only'); END""",
    """CREATE TRIGGER event_private_no_replace BEFORE INSERT ON event_private
    WHEN EXISTS (SELECT 1 FROM event_private WHERE position = new.position AND kind = new.kind)
    BEGIN SELECT raise(ABORT, 'event_private: nothing is replaced'); END""",
    """CREATE TRIGGER event_private_no_update BEFORE UPDATE ON event_private
    BEGIN SELECT raise(ABORT, 'event_private: rows are only added and deleted'); END""",
    """CREATE TRIGGER head_no_delete BEFORE DELETE ON head
    BEGIN SELECT raise(ABORT, 'head: there is exactly one row'); END""",
    """CREATE TRIGGER head_no_second BEFORE INSERT ON head
    WHEN EXISTS (SELECT 1 FROM head)
    BEGIN SELECT raise(ABORT, 'head: there is exactly one row'); END""",
    """CREATE TRIGGER head_grows BEFORE UPDATE ON head
    WHEN new.id <> old.id OR new.last_at < old.last_at
      OR new.size < (SELECT coalesce(max(position) + 1, 0) FROM events)
    BEGIN SELECT raise(ABORT, 'head: size and time only grow'); END""",
)

# A trigger that is not ALWAYS is passed by with session_replication_role = replica. The owner can still drop them:
# the service should run as a role that owns nothing (`session-ledger migrate --grant`).
_REFUSE = """CREATE FUNCTION ledger_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '%: append-only', TG_TABLE_NAME USING ERRCODE = '23514'; END $$"""
_DENSE = """CREATE FUNCTION ledger_dense() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE low bigint; high bigint; many bigint;
BEGIN
  SELECT min(position), max(position), count(*) INTO low, high, many FROM added;
  IF many > 0 AND (high - low + 1 <> many OR low < 0
      OR (low > 0 AND NOT EXISTS (SELECT 1 FROM events WHERE position = low - 1))) THEN
    RAISE EXCEPTION 'events: positions are dense' USING ERRCODE = '23514';
  END IF;
  RETURN NULL;
END $$"""
_GROWS = """CREATE FUNCTION ledger_head_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF new.id <> old.id OR new.last_at < old.last_at
      OR new.size < (SELECT coalesce(max(position) + 1, 0) FROM events) THEN
    RAISE EXCEPTION 'head: size and time only grow' USING ERRCODE = '23514';
  END IF;
  RETURN new;
END $$"""
_GUARDS = (
    ("events_dense", "events", "AFTER INSERT", "REFERENCING NEW TABLE AS added FOR EACH STATEMENT", "ledger_dense"),
    ("events_no_change", "events", "BEFORE UPDATE OR DELETE", "FOR EACH ROW", "ledger_refuse"),
    ("events_no_truncate", "events", "BEFORE TRUNCATE", "FOR EACH STATEMENT", "ledger_refuse"),
    ("event_private_no_update", "event_private", "BEFORE UPDATE", "FOR EACH ROW", "ledger_refuse"),
    ("event_private_no_truncate", "event_private", "BEFORE TRUNCATE", "FOR EACH STATEMENT", "ledger_refuse"),
    ("head_no_delete", "head", "BEFORE DELETE", "FOR EACH ROW", "ledger_refuse"),
    ("head_no_truncate", "head", "BEFORE TRUNCATE", "FOR EACH STATEMENT", "ledger_refuse"),
    ("head_grows", "head", "BEFORE UPDATE", "FOR EACH ROW", "ledger_head_grows"),
)
POSTGRES_TRIGGERS = (
    _REFUSE,
    _DENSE,
    _GROWS,
    *(
        statement
        for name, table, moment, each, function in _GUARDS
        for statement in (
            f"CREATE TRIGGER {name} {moment} ON {table} {each} EXECUTE FUNCTION {function}()",
            f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}",
        )
    ),
    "ALTER TABLE head ADD CONSTRAINT head_one_row CHECK (id = 1)",
)
