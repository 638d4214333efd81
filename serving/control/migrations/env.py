"""Alembic's entry: it migrates the connection that `Database.open` hands over."""

from __future__ import annotations

from alembic import context

from serving.control.tables import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata)
with context.begin_transaction():
    context.run_migrations()
