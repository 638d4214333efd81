"""Documents' vaults: what the placeholders of masked documents stand for."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    """Documents that are there already are not masked, and have none."""
    op.create_table(
        "document_vaults",
        sa.Column("tenant_id", sa.String(63), primary_key=True),
        sa.Column("document_id", sa.String(256), primary_key=True),
        sa.Column("version", sa.String(32), primary_key=True),
        sa.Column("ordinal", sa.Integer(), primary_key=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
    )
