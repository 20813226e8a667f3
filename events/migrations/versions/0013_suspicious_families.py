"""An index of families that are odd: a page tells of them, and of many millions only few are."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

ODD = sa.text("reused_at > 0 OR ended_by = 'policy'")


def upgrade() -> None:
    """A family gets into it once, when it ends; a rotation does not touch it."""
    op.create_index("families_suspicious", "families", ["id"], sqlite_where=ODD, postgresql_where=ODD)
