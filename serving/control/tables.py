"""The tables. Times are UTC; a key's secret is nowhere, only its SHA-256."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

from isolation.policy import Limits


class Base(DeclarativeBase):
    """Root of all tables."""


class TenantRow(Base):
    """A tenant. `state` is `active` or `suspended`; `limits`: its own in place of its tier's."""

    __tablename__ = "tenants"

    id: Mapped[str] = mapped_column(String(63), primary_key=True)
    tier: Mapped[str] = mapped_column(String(32))
    state: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime]
    limits: Mapped[Limits | None] = mapped_column(JSON(none_as_null=True))


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
    """A write to the knowledge base that was begun and not finished.

    `token` is its writer's, who holds the document until `expires_at`. `versions`: all that the
    store may hold of the document; null where that is not known.
    """

    __tablename__ = "pending_writes"

    tenant_id: Mapped[str] = mapped_column(String(63), primary_key=True)
    document_id: Mapped[str] = mapped_column(String(256), primary_key=True)
    token: Mapped[str] = mapped_column(String(32))
    expires_at: Mapped[datetime]
    versions: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))


class MaskingPolicyRow(Base):
    """What a tenant's operator chose to have masked."""

    __tablename__ = "masking_policies"

    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    policy: Mapped[dict[str, Any]] = mapped_column(JSON)
    updated_at: Mapped[datetime]


class DocumentVaultRow(Base):
    """What the placeholders of one chunk of a masked document stand for, sealed."""

    __tablename__ = "document_vaults"

    tenant_id: Mapped[str] = mapped_column(String(63), primary_key=True)
    document_id: Mapped[str] = mapped_column(String(256), primary_key=True)
    version: Mapped[str] = mapped_column(String(32), primary_key=True)
    ordinal: Mapped[int] = mapped_column(primary_key=True)
    sealed: Mapped[bytes]


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
    preemptions: Mapped[int | None]
    retractions: Mapped[int | None]
    worker_type: Mapped[str | None] = mapped_column(String(64))


class CrashRow(Base):
    """A request that an engine had when it died: how often, and by whose hash.

    worker: the engine that died last with it; what it had twice at once counts once.
    """

    __tablename__ = "crashes"

    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    request_hash: Mapped[str] = mapped_column(String(64), primary_key=True)
    model: Mapped[str] = mapped_column(String(128))
    crashes: Mapped[int]
    worker: Mapped[str] = mapped_column(String(64))
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]


class TenantKeyRow(Base):
    """A tenant's own random key, wrapped by the master key `kms_key_id`. Deleted, it is gone."""

    __tablename__ = "tenant_keys"

    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    kms_key_id: Mapped[str] = mapped_column(String(64))
    wrapped: Mapped[bytes]
    created_at: Mapped[datetime]


class AdapterNameRow(Base):
    """The number given last under a name: it is never given again, also after a deletion."""

    __tablename__ = "adapter_names"

    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    last_version: Mapped[int]


class AdapterVersionRow(Base):
    """A version of an adapter. `state` is `active` or `revoked`."""

    __tablename__ = "adapter_versions"

    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    upload: Mapped[str] = mapped_column(String(32), unique=True)
    state: Mapped[str] = mapped_column(String(16))
    folder: Mapped[str] = mapped_column(String(64))
    manifest: Mapped[bytes]
    signature: Mapped[bytes]
    wrapped_key: Mapped[bytes]


class LooseFolderRow(Base):
    """A folder of the adapter store that no version refers to: being written, or removed."""

    __tablename__ = "adapter_loose_folders"

    upload: Mapped[str] = mapped_column(String(32), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(63), index=True)
    folder: Mapped[str] = mapped_column(String(64))
    since: Mapped[datetime]


class ResidencyRow(Base):
    """An adapter that was in the engine for a while. Outlives its tenant, as `UsageRow` does."""

    __tablename__ = "adapter_residency"
    __table_args__ = (
        Index("ix_adapter_residency_tenant_id_created_at", "tenant_id", "created_at"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(String(63))
    adapter: Mapped[str] = mapped_column(String(80))
    bytes: Mapped[int] = mapped_column(BigInteger)
    seconds: Mapped[float]
    created_at: Mapped[datetime]


class RolloutRow(Base):
    """A rollout of an adapter's version. `holds`: the adapter's name follows it, and no other."""

    __tablename__ = "adapter_rollouts"
    __table_args__ = (
        UniqueConstraint("tenant_id", "name", "number", name="uq_adapter_rollouts_number"),
        Index(
            "uq_adapter_rollouts_holds",
            "tenant_id",
            "name",
            unique=True,
            sqlite_where=text("holds"),
            postgresql_where=text("holds"),
        ),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    tenant_id: Mapped[str] = mapped_column(ForeignKey("tenants.id"))
    name: Mapped[str] = mapped_column(String(63))
    number: Mapped[int]
    control: Mapped[int]
    candidate: Mapped[int]
    percent: Mapped[float]
    policy: Mapped[dict[str, Any]] = mapped_column(JSON)
    shadow: Mapped[bool]
    state: Mapped[str] = mapped_column(String(16), index=True)
    holds: Mapped[bool]
    revision: Mapped[int]
    looks: Mapped[int]
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


class RolloutFiguresRow(Base):
    """What one writer has counted of a rollout in all."""

    __tablename__ = "rollout_figures"

    rollout_id: Mapped[str] = mapped_column(
        ForeignKey("adapter_rollouts.id", ondelete="CASCADE"), primary_key=True
    )
    writer: Mapped[str] = mapped_column(String(32), primary_key=True)
    figures: Mapped[dict[str, Any]] = mapped_column(JSON)


class RolloutStepRow(Base):
    """A line of a rollout's audit trail: one for each revision."""

    __tablename__ = "rollout_steps"

    rollout_id: Mapped[str] = mapped_column(
        ForeignKey("adapter_rollouts.id", ondelete="CASCADE"), primary_key=True
    )
    revision: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime]
    who: Mapped[str] = mapped_column(String(128))
    state_before: Mapped[str | None] = mapped_column(String(16))
    state_after: Mapped[str] = mapped_column(String(16))
    why: Mapped[list[str]] = mapped_column(JSON)
    figures: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))


class PublicPrefixRow(Base):
    """What the operator shares with all tenants: the beginning of chats. It is nobody's data."""

    __tablename__ = "public_prefixes"

    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    system: Mapped[str] = mapped_column(Text)
    tools: Mapped[list[dict[str, Any]]] = mapped_column(JSON)
    published_at: Mapped[datetime]


class PublicPrefixStepRow(Base):
    """A line of the audit trail of public prefixes. It outlives them.

    `action` is `published` or `withdrawn`; `digest` the SHA-256 of what it was done to.
    """

    __tablename__ = "public_prefix_steps"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(63), index=True)
    at: Mapped[datetime]
    who: Mapped[str] = mapped_column(String(128))
    action: Mapped[str] = mapped_column(String(16))
    digest: Mapped[str] = mapped_column(String(64))


class VectorMoveRow(Base):
    """The one row about re-embedding, for gateways that share a vector store.

    `epoch` counts the times at which another generation may have taken over; `collection` is what
    the gateways agreed on since, null until one of them has looked. `token` is of the
    gateway that re-embeds, until `expires_at`; `embedding` is what it moves to, or moved to last.
    `held`: nothing is committed now.
    """

    __tablename__ = "vector_moves"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    epoch: Mapped[int]
    collection: Mapped[str | None]
    embedding: Mapped[str | None]
    token: Mapped[str | None] = mapped_column(String(32))
    expires_at: Mapped[datetime | None]
    held: Mapped[bool]


class GatewayRow(Base):
    """A gateway that shares a vector store, and up to which `epoch` it has followed."""

    __tablename__ = "gateways"

    token: Mapped[str] = mapped_column(String(32), primary_key=True)
    epoch: Mapped[int]
    seen_at: Mapped[datetime]


class AdapterGatewayRow(Base):
    """A gateway that loads adapters into an engine that it may share, and when it was last there.

    `owner`: its id, which it keeps from one start to the next.
    """

    __tablename__ = "adapter_gateways"

    owner: Mapped[str] = mapped_column(String(32), primary_key=True)
    seen_at: Mapped[datetime]
