"""Limits of one tenant, in place of its tier's."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """All have their tier's."""
    op.add_column("tenants", sa.Column("limits", sa.JSON(), nullable=True))
