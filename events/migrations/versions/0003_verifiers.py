"""A table beside the log: how far each verifier has followed the revocations. No event makes it."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Compared byte by byte on both engines."""


def upgrade() -> None:
    """Create it empty: verifiers say again where they are within a minute."""
    op.create_table(
        "verifiers",
        sa.Column("client", TEXT, primary_key=True),
        sa.Column("verifier", TEXT, primary_key=True),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
