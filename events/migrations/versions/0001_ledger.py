"""The first schema: log, private rows, head, projections; the log append-only by triggers."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SEARCHED = ("type", "subject", "client", "request", "jti")


def upgrade() -> None:
    """Create everything on an empty database."""
    _create_log()
    _create_projections()
    _index_log()
    sqlite = op.get_bind().dialect.name == "sqlite"
    for statement in SQLITE_TRIGGERS if sqlite else ():
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
        sa.Column("client", sa.Text),
        sa.Column("actor", sa.Text, nullable=False),
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
        sa.Column("key_checks", sa.Text, nullable=False),
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
    )


def _column(name: str, kind: type[sa.types.TypeEngine] = sa.BigInteger) -> sa.Column:  # type: ignore[type-arg]
    return sa.Column(name, kind, nullable=False)


def _create_projections() -> None:
    text, small, number = sa.Text, sa.SmallInteger, sa.Integer
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
