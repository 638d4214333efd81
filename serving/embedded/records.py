"""What lies in the database: who there is, whose keys open what, and under which policies."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass

from isolation.context import OperatorContext
from serving.control.authentication import ApiKeyAuthenticator, OperatorKeyAuthenticator
from serving.control.database import Database
from serving.control.policies import PolicyRegistry
from serving.control.tenant_keys import TenantKeys
from serving.control.tenants import TenantRegistry
from serving.control.text_keys import CONVERSATIONS, VAULTS, TextKeys
from serving.embedded.adapters import open_tenant_keys
from serving.key_files import admin_key
from serving.settings import Settings


@dataclass(frozen=True, slots=True)
class Records:
    """The open database, the operator, and the tenants' keys: `text_keys`, `vault_keys` and
    `token_keys` are of documents, of what was masked in them, and of conversations."""

    operator: OperatorContext
    operator_keys: OperatorKeyAuthenticator
    database: Database
    tenants_keys: ApiKeyAuthenticator
    registry: TenantRegistry
    policies: PolicyRegistry
    keys: TenantKeys
    text_keys: TextKeys
    vault_keys: TextKeys
    token_keys: TextKeys


async def open_records(settings: Settings, stack: AsyncExitStack) -> Records:
    """Migrate the database, and check that the master key is the one that wrapped the tenants'.

    Raises:
        StartupError: something is in the way; the message is one line with the way out.
    """
    key = admin_key(settings)
    operator_keys = OperatorKeyAuthenticator(key)
    operator = operator_keys.authenticate(key)
    database = await Database.open(_url(settings))
    stack.push_async_callback(database.close)
    keys = await open_tenant_keys(settings, database, operator)
    await keys.verify(operator)
    return Records(
        operator,
        operator_keys,
        database,
        ApiKeyAuthenticator(database),
        TenantRegistry(database),
        PolicyRegistry(database),
        keys,
        TextKeys(keys),
        TextKeys(keys, VAULTS),
        TextKeys(keys, CONVERSATIONS),
    )


def _url(settings: Settings) -> str:
    if settings.database_url is not None:
        return settings.database_url
    return f"sqlite+aiosqlite:///{(settings.data_dir / 'bulkhead.db').absolute()}"
