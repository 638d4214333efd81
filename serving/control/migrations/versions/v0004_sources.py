"""Which file a document was read from."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """What is there already has none: it is read again when its file comes again."""
    op.add_column("documents", sa.Column("source", sa.String(64), nullable=True))
