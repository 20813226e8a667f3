"""Clients get a type, audiences, scopes and secrets. The defaults are what the facts of before fold to."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Compared byte by byte on both engines."""

ADDED = (
    ("type", TEXT, "public"),
    ("first_party", sa.SmallInteger, "1"),
    ("audiences", TEXT, ""),
    ("scopes", TEXT, ""),
    ("operator", sa.SmallInteger, "0"),
    ("secret", TEXT, ""),
    ("secret_at", sa.BigInteger, "0"),
    ("secret_before", TEXT, ""),
    ("before_until", sa.BigInteger, "0"),
    ("access_revoked", sa.BigInteger, "0"),
)


def upgrade() -> None:
    """Add the columns behind those that are there: their order is that of the state's fields."""
    for name, kind, default in ADDED:
        op.add_column("clients", sa.Column(name, kind, nullable=False, server_default=default))
