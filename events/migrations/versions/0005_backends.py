"""What backends say of the users that they authenticate. The defaults are what the facts of before fold to."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Compared byte by byte on both engines."""

ADDED = (("families", "acr"), ("subjects", "client"), ("subjects", "external"))


def upgrade() -> None:
    """Add the columns behind those that are there: their order is that of the state's fields."""
    for table, name in ADDED:
        op.add_column(table, sa.Column(name, TEXT, nullable=False, server_default=""))
    op.create_index("subjects_external", "subjects", ["external"])
