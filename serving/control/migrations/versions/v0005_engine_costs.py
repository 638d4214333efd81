"""What a request cost in the engine; empty where no engine said."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Add the columns."""
    for name in ("engine_queue_seconds", "prefill_seconds", "decode_seconds", "busy_seconds"):
        op.add_column("usage", sa.Column(name, sa.Double(), nullable=True))
    op.add_column("usage", sa.Column("kv_token_seconds", sa.Double(), nullable=True))
    for name in ("computed_tokens", "peak_kv_tokens", "retractions"):
        op.add_column("usage", sa.Column(name, sa.Integer(), nullable=True))
    op.add_column("usage", sa.Column("worker_type", sa.String(64), nullable=True))
