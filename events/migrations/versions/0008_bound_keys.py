"""Families and clients that hold keys of their own, and a table beside the log of proofs that were used."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Compared byte by byte on both engines."""

ADDED = (
    ("families", "jkt", TEXT, ""),
    ("clients", "dpop", TEXT, "optional"),
    ("clients", "keys", TEXT, ""),
    ("clients", "keys_only", sa.SmallInteger, "0"),
)


def upgrade() -> None:
    """Add the columns behind those that are there, with what the facts of before fold to; create the table empty."""
    for table, name, kind, default in ADDED:
        op.add_column(table, sa.Column(name, kind, nullable=False, server_default=default))
    op.create_table(
        "uses",
        sa.Column("value", sa.LargeBinary, primary_key=True),
        sa.Column("until", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("uses_until", "uses", ["until"])
