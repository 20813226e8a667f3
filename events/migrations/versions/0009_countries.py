"""Families are compared by country, too, and remember what of their context changed; clients say what to do then."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Compared byte by byte on both engines."""

ADDED = (("families", "country_tag", ""), ("families", "changed", ""), ("clients", "on_country_change", "observe"))

AS_TEXT = {"sqlite": "CAST(body AS TEXT)", "postgresql": "convert_from(body, 'UTF8')"}
SAID = ("device", "network", "device network")
"""All that the facts of before can say; what comes later here holds what came before."""


def upgrade() -> None:
    """Add the columns behind those that are there: their order is that of the state's fields."""
    for table, name, default in ADDED:
        op.add_column(table, sa.Column(name, TEXT, nullable=False, server_default=default))
    body = AS_TEXT[op.get_bind().dialect.name]
    for said in SAID:
        op.execute(f"""
            UPDATE families
            SET changed = CASE changed WHEN '' THEN '{said}' ELSE 'device network' END
            WHERE id IN (SELECT stream FROM events WHERE type = 8 AND {body} LIKE '%"changed":"{said}"%')
        """)
