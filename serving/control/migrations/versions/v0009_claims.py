"""Who writes a document, until when, and what the store may hold of it."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    """What is pending already is nobody's, and may be taken over at once."""
    token = sa.Column("token", sa.String(32), nullable=False, server_default="")
    op.add_column("pending_writes", token)
    expires = sa.Column(
        "expires_at", sa.DateTime(), nullable=False, server_default="1970-01-01 00:00:00"
    )
    op.add_column("pending_writes", expires)
    versions = sa.Column("versions", sa.JSON(none_as_null=True), nullable=True)
    op.add_column("pending_writes", versions)
