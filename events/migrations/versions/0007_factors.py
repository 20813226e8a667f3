"""Second factors of staff. The default is what the facts of before fold to: nobody has one."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Compared byte by byte on both engines."""


def upgrade() -> None:
    """Add the column behind those that are there: their order is that of the state's fields."""
    op.add_column("subjects", sa.Column("factors", TEXT, nullable=False, server_default=""))
