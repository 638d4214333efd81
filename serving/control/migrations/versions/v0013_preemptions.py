"""How often a request was preempted in the engine; earlier rows counted it among `retractions`."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the column."""
    op.add_column("usage", sa.Column("preemptions", sa.Integer(), nullable=True))
