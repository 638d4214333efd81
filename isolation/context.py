"""Who a request belongs to. A context is proof of authentication: nobody can write one down.

`TenantContext` and `OperatorContext` are abstract, and only `isolation.mint` may subclass them.
Neither is a dataclass or a pydantic model, since `replace` and `model_copy` would forge one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NoReturn

from isolation.access import Access
from isolation.errors import CrossTenantError, RestrictedKeyError, UnmintedContextError
from isolation.policy import Tier
from isolation.tenant_id import TenantId

_MINT = "isolation.mint"


class _Sealed(ABC):  # noqa: B024 - its subclasses have the abstract parts
    """Only the mint may subclass; nothing may copy by pickling or change an attribute."""

    __slots__ = ()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if cls.__module__ not in (__name__, _MINT):
            raise UnmintedContextError(f"the class {cls.__qualname__}")
        super().__init_subclass__(**kwargs)

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a context cannot be changed")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a context cannot be changed")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a context cannot be copied or pickled; pass it on as it is")


class TenantContext(_Sealed):
    """One authenticated tenant. Every function that touches a tenant's state takes one."""

    __slots__ = ()

    @property
    @abstractmethod
    def tenant_id(self) -> TenantId: ...

    @property
    @abstractmethod
    def tier(self) -> Tier: ...

    @property
    @abstractmethod
    def credential_id(self) -> str:
        """Which credential authenticated this context; safe to log."""

    @property
    @abstractmethod
    def access(self) -> Access:
        """Which of the tenant's documents the credential may see."""


class OperatorContext(_Sealed):
    """The platform's operator: what works across tenants takes one, in functions of its own."""

    __slots__ = ()

    @property
    @abstractmethod
    def operator(self) -> str:
        """Who acts, for the audit trail."""


def require_tenant(value: object, where: str) -> TenantContext:
    """`value` if it is a minted tenant context: types prove it to mypy, this proves it at run time.

    Raises:
        UnmintedContextError: it is anything else, None and a bare tenant id included.
    """
    if not isinstance(value, TenantContext):
        raise UnmintedContextError(where)
    return value


def require_operator(value: object, where: str) -> OperatorContext:
    """`value` if it is a minted operator context.

    Raises:
        UnmintedContextError: it is anything else.
    """
    if not isinstance(value, OperatorContext):
        raise UnmintedContextError(where)
    return value


def require_unrestricted(ctx: TenantContext) -> None:
    """Writing needs a credential that sees everything: one that does not could overwrite, or learn
    of, what it may not see.

    Raises:
        RestrictedKeyError: the credential is restricted to groups.
    """
    if not ctx.access.unrestricted:
        raise RestrictedKeyError


def require_same_tenant(ctx: TenantContext, owner: str, where: str) -> None:
    """Types prove *a* tenant; this proves the *same* one, where two values meet.

    Raises:
        CrossTenantError: `owner` is not the tenant of `ctx`.
    """
    if owner != ctx.tenant_id:
        raise CrossTenantError(where)
