"""The tables. Times are UTC; a key's secret is nowhere, only its SHA-256."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import JSON, ForeignKey, ForeignKeyConstraint, Index, LargeBinary, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """Root of all tables."""


class TenantRow(Base):
    """A tenant. `state` is `active` or `suspended`."""

    __tablename__ = "tenants"

    id: Mapped[str] = mapped_column(String(63), primary_key=True)
    tier: Mapped[str] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime]


class ApiKeyRow(Base):
    """An API key of a tenant. `groups` is null for a key that sees all of its documents."""

    __tablename__ = "api_keys"

    key_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), index=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    groups: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))


class DataKeyRow(Base):
    """A tenant's data key, wrapped by the platform's. Without it its texts are noise."""

    __tablename__ = "data_keys"

    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    wrapped: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]


class DocumentRow(Base):
    """A committed document. `source`: SHA-256 of the file that it was read from."""

    __tablename__ = "documents"

    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    document_id: Mapped[str] = mapped_column(String(256), primary_key=True)
    title: Mapped[str]
    version: Mapped[str] = mapped_column(String(32))
    fingerprint: Mapped[str] = mapped_column(String(64))
    source: Mapped[str | None] = mapped_column(String(64))
    chunks: Mapped[int]
    updated_at: Mapped[datetime]
    groups: Mapped[list[DocumentGroupRow]] = relationship(
        cascade="all, delete-orphan", passive_deletes=True, lazy="selectin"
    )


class DocumentGroupRow(Base):
    """A group that may see a document. A document without any is its whole tenant's."""

    __tablename__ = "document_groups"
    __table_args__ = (
        ForeignKeyConstraint(
            ["tenant_id", "document_id"],
            ["documents.tenant_id", "documents.document_id"],
            ondelete="CASCADE",
        ),
    )

    tenant_id: Mapped[str] = mapped_column(String(63), primary_key=True)
    document_id: Mapped[str] = mapped_column(String(256), primary_key=True)
    group_name: Mapped[str] = mapped_column(String(63), primary_key=True)


class PendingWriteRow(Base):
    """A write to the knowledge base that was begun and not finished."""

    __tablename__ = "pending_writes"

    tenant_id: Mapped[str] = mapped_column(String(63), primary_key=True)
    document_id: Mapped[str] = mapped_column(String(256), primary_key=True)


class UsageRow(Base):
    """What one request consumed. Outlives its tenant: it is what a bill rests on."""

    __tablename__ = "usage"
    __table_args__ = (Index("ix_usage_tenant_id_created_at", "tenant_id", "created_at"),)

    request_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(63))
    key_id: Mapped[str] = mapped_column(String(64))
    model: Mapped[str] = mapped_column(String(128))
    prompt_tokens: Mapped[int]
    cached_tokens: Mapped[int]
    completion_tokens: Mapped[int]
    passages: Mapped[int]
    queue_seconds: Mapped[float]
    ttft_seconds: Mapped[float | None]
    total_seconds: Mapped[float]
    finish_reason: Mapped[str] = mapped_column(String(32))
    created_at: Mapped[datetime]
