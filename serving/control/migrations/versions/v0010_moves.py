"""What gateways that share a vector store agree on while its vectors move."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """One move at a time: the row is there from the beginning, so that it can be locked."""
    moves = op.create_table(
        "vector_moves",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("collection", sa.String(), nullable=True),
        sa.Column("embedding", sa.String(), nullable=True),
        sa.Column("token", sa.String(32), nullable=True),
        sa.Column("expires_at", sa.DateTime(), nullable=True),
        sa.Column("held", sa.Boolean(), nullable=False),
    )
    op.bulk_insert(moves, [{"id": 1, "epoch": 0, "held": False}])
    op.create_table(
        "gateways",
        sa.Column("token", sa.String(32), primary_key=True),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("seen_at", sa.DateTime(), nullable=False),
    )
