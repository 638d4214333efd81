"""An application's own credentials: contexts come from the registered port, and from it only."""

from __future__ import annotations

from typing import Any

import pytest

from isolation.access import UNRESTRICTED, restricted_to
from isolation.errors import (
    AuthenticatorFailedError,
    InvalidCredentialError,
    InvalidTenantIdError,
    TenantSuspendedError,
)
from isolation.identity import Identity, RegisteredAuthenticator
from isolation.policy import UnknownTierError

ACME = Identity("acme", "business", "session-1", UNRESTRICTED)


class Verifier:
    """Answers, or raises, what it was given."""

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    async def verify(self, credential: str) -> Any:
        if isinstance(self._answer, Exception):
            raise self._answer
        return self._answer if credential == "right" else None


async def test_what_the_verifier_vouches_for_is_minted() -> None:
    vip = restricted_to(["vip"])
    answer = Identity("acme", "enterprise", "session-1", vip)
    ctx = await RegisteredAuthenticator(Verifier(answer)).authenticate("right")
    assert (ctx.tenant_id, ctx.tier.name) == ("acme", "enterprise")
    assert (ctx.credential_id, ctx.access) == ("session-1", vip)


async def test_nobodys_credential_is_refused_without_naming_it() -> None:
    with pytest.raises(InvalidCredentialError) as caught:
        await RegisteredAuthenticator(Verifier(ACME)).authenticate("secret-canary")
    assert "canary" not in str(caught.value)


class Forged(Identity):
    """Says what it likes after the checks."""


@pytest.mark.parametrize(
    "answer",
    [
        "acme",
        True,
        {"tenant": "acme"},
        ("acme", "business", "x", UNRESTRICTED),
        Forged("acme", "business", "x", UNRESTRICTED),
        Identity("acme", "business", "x", None),  # type: ignore[arg-type]
        RuntimeError("secret-canary"),
        KeyError("secret-canary"),
    ],
)
async def test_whatever_else_it_gives_lets_nobody_in_and_is_not_repeated(answer: Any) -> None:
    with pytest.raises(AuthenticatorFailedError) as caught:
        await RegisteredAuthenticator(Verifier(answer)).authenticate("right")
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None


async def test_the_verifiers_own_refusal_stays_what_it_is() -> None:
    with pytest.raises(TenantSuspendedError):
        await RegisteredAuthenticator(Verifier(TenantSuspendedError())).authenticate("right")


@pytest.mark.parametrize(
    ("tenant", "tier", "error"),
    [
        ("", "business", InvalidTenantIdError),
        ("a/../b", "business", InvalidTenantIdError),
        ("acme\0birch", "business", InvalidTenantIdError),
        ("acme", "gold", UnknownTierError),
    ],
)
def test_an_identity_is_checked_where_it_is_made(
    tenant: str, tier: str, error: type[Exception]
) -> None:
    with pytest.raises(error):
        Identity(tenant, tier, "x", UNRESTRICTED)
