"""Webhooks, and beside the log how far each has come. A ledger of before has none."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Compared byte by byte on both engines."""


def _column(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False)


def upgrade() -> None:
    """Create them empty."""
    op.create_table(
        "webhooks",
        sa.Column("id", sa.LargeBinary, primary_key=True),
        _column("version", sa.Integer),
        *(_column(name, TEXT) for name in "status client format method signals url query reason".split()),
        _column("registered_at", sa.BigInteger),
        _column("wrapped", TEXT),
        _column("wrapped_by", sa.SmallInteger),
        _column("secret_at", sa.BigInteger),
        _column("before", TEXT),
        _column("before_by", sa.SmallInteger),
        _column("before_until", sa.BigInteger),
        _column("dead", sa.Integer),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "webhook_cursors",
        sa.Column("webhook", sa.LargeBinary, primary_key=True),
        _column("position", sa.BigInteger),
        _column("failures", sa.Integer),
        _column("failing_since", sa.BigInteger),
        _column("not_before", sa.BigInteger),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("webhook", sa.LargeBinary, primary_key=True),
        sa.Column("position", sa.BigInteger, primary_key=True),
        _column("lane", sa.LargeBinary),
        _column("status", TEXT),
        _column("tries", sa.Integer),
        _column("due", sa.BigInteger),
        _column("at", sa.BigInteger),
        _column("reason", TEXT),
        _column("answer", sa.SmallInteger),
        sqlite_with_rowid=False,
    )
