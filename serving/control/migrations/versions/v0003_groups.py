"""Groups: of keys, and of documents."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Keys and documents that are there already have none: unrestricted, and everybody's."""
    op.add_column("api_keys", sa.Column("groups", sa.JSON(none_as_null=True), nullable=True))
    op.create_table(
        "document_groups",
        sa.Column("tenant_id", sa.String(63), primary_key=True),
        sa.Column("document_id", sa.String(256), primary_key=True),
        sa.Column("group_name", sa.String(63), primary_key=True),
        sa.ForeignKeyConstraint(
            ["tenant_id", "document_id"],
            ["documents.tenant_id", "documents.document_id"],
            ondelete="CASCADE",
        ),
    )
