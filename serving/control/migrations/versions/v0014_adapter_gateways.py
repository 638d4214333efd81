"""The gateways that load adapters, and when each was last there."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "adapter_gateways",
        sa.Column("owner", sa.String(32), primary_key=True),
        sa.Column("seen_at", sa.DateTime(), nullable=False),
    )
