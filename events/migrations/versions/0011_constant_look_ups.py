"""On PostgreSQL a family and its owner are found in the same number of pages, however many there are.

The keys' own indexes are trees, a level deeper with each few hundred times as many rows. SQLite has nothing else.
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

FOUND_BY_ID = ("families", "subjects")


def upgrade() -> None:
    """Hashed: for looking one up, never for order."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for table in FOUND_BY_ID:
        op.create_index(f"{table}_id", table, ["id"], postgresql_using="hash")
