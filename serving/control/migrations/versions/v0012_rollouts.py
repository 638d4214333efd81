"""Rollouts of adapter versions, what is counted of them, and their audit trail."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "adapter_rollouts",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("tenant_id", sa.String(63), sa.ForeignKey("tenants.id"), nullable=False),
        sa.Column("name", sa.String(63), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("control", sa.Integer(), nullable=False),
        sa.Column("candidate", sa.Integer(), nullable=False),
        sa.Column("percent", sa.Double(), nullable=False),
        sa.Column("policy", sa.JSON(), nullable=False),
        sa.Column("shadow", sa.Boolean(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("holds", sa.Boolean(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("looks", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("started_at", sa.DateTime(), nullable=True),
        sa.Column("ended_at", sa.DateTime(), nullable=True),
        sa.UniqueConstraint("tenant_id", "name", "number", name="uq_adapter_rollouts_number"),
    )
    holds = sa.text("holds")
    op.create_index(
        "uq_adapter_rollouts_holds",
        "adapter_rollouts",
        ["tenant_id", "name"],
        unique=True,
        sqlite_where=holds,
        postgresql_where=holds,
    )
    op.create_index("ix_adapter_rollouts_state", "adapter_rollouts", ["state"])
    op.create_table(
        "rollout_figures",
        sa.Column("rollout_id", sa.String(32), _rollout(), primary_key=True),
        sa.Column("writer", sa.String(32), primary_key=True),
        sa.Column("figures", sa.JSON(), nullable=False),
    )
    op.create_table(
        "rollout_steps",
        sa.Column("rollout_id", sa.String(32), _rollout(), primary_key=True),
        sa.Column("revision", sa.Integer(), primary_key=True),
        sa.Column("at", sa.DateTime(), nullable=False),
        sa.Column("who", sa.String(128), nullable=False),
        sa.Column("state_before", sa.String(16), nullable=True),
        sa.Column("state_after", sa.String(16), nullable=False),
        sa.Column("why", sa.JSON(), nullable=False),
        sa.Column("figures", sa.JSON(none_as_null=True), nullable=True),
    )


def _rollout() -> sa.ForeignKey:
    return sa.ForeignKey("adapter_rollouts.id", ondelete="CASCADE")
