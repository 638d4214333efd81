"""The tables. Times are UTC; a key's secret is nowhere, only its SHA-256."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


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
    """An API key of a tenant."""

    __tablename__ = "api_keys"

    key_id: Mapped[str] = mapped_column(String(16), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), index=True)
    digest: Mapped[bytes] = mapped_column(LargeBinary(32))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class DocumentRow(Base):
    """A committed document."""

    __tablename__ = "documents"

    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    document_id: Mapped[str] = mapped_column(String(256), primary_key=True)
    title: Mapped[str]
    version: Mapped[str] = mapped_column(String(32))
    fingerprint: Mapped[str] = mapped_column(String(64))
    chunks: Mapped[int]
    updated_at: Mapped[datetime]


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
    engine_queue_seconds: Mapped[float | None]
    prefill_seconds: Mapped[float | None]
    decode_seconds: Mapped[float | None]
    busy_seconds: Mapped[float | None]
    kv_token_seconds: Mapped[float | None]
    computed_tokens: Mapped[int | None]
    peak_kv_tokens: Mapped[int | None]
    retractions: Mapped[int | None]
    worker_type: Mapped[str | None] = mapped_column(String(64))
