"""A refresh touches fewer pages, and fewer more of them on a large ledger. Rows and what can be asked stay as they are.

Ids of access tokens and of requests begin with the time, so new ones belong at the end of their index. Events without
one stood there as NULL, behind which PostgreSQL has to search its way down the tree each time; now they are left out.

The hashed look-ups get room: at the usual fill a third of the buckets need a second page.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

GROW_AT_THE_END = ("jti", "request")
LOOKED_UP = ("families", "subjects")
FILL = 50
"""Per cent of a page, at first."""


def upgrade() -> None:
    """Two indexes are written anew, four on PostgreSQL: some seconds for each million events."""
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    behind = ["position"] if on_postgresql else []
    for column in GROW_AT_THE_END:
        stated = sa.text(f"{column} IS NOT NULL")
        op.drop_index(f"events_{column}", "events")
        op.create_index(f"events_{column}", "events", [column, *behind], sqlite_where=stated, postgresql_where=stated)
    if on_postgresql:
        for table in LOOKED_UP:
            op.execute(f"ALTER INDEX {table}_id SET (fillfactor = {FILL})")
            op.execute(f"REINDEX INDEX {table}_id")
