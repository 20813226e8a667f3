"""Which master keys each process knows and which one signs, beside the log; and in it, which are refused."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Compared byte by byte on both engines."""


def upgrade() -> None:
    """Which key signs is 0 until a process says it at its start; no number is refused yet."""
    op.create_table(
        "processes",
        sa.Column("holder", TEXT, primary_key=True),
        sa.Column("numbers", TEXT, nullable=False),
        sa.Column("signs", sa.SmallInteger, nullable=False),
        sa.Column("until", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.add_column("head", sa.Column("signing_key", sa.SmallInteger, nullable=False, server_default="0"))
    op.add_column("head", sa.Column("signing_since", sa.BigInteger, nullable=False, server_default="0"))
    op.add_column("log", sa.Column("revoked_keys", TEXT, nullable=False, server_default=""))
