"""Limits that limit nothing, and remember what was held: the limits are tested on Valkey
(`tests/admission/test_rates.py`)."""

from __future__ import annotations

from dataclasses import dataclass, field

from isolation.context import TenantContext
from serving.admission.standing import Standing


@dataclass
class Hold:
    """One request's, of `tenant`. used: None until it is settled."""

    rates: Rates
    tenant: str
    reserved: int = 0
    used: int | None = None
    standing: Standing | None = None

    async def reserve(self, tokens: int) -> None:
        self.reserved = max(self.reserved, tokens)
        own = self.rates.held(self.tenant)
        held = sum(hold.reserved if hold.used is None else hold.used for hold in own)
        self.standing = Standing(len(own), held, 60)

    async def settle(self, used: int) -> None:
        self.used = used


@dataclass
class Rates:
    holds: list[Hold] = field(default_factory=list)

    def of(self, ctx: TenantContext) -> TenantRates:
        return TenantRates(self, str(ctx.tenant_id))

    def held(self, tenant: str) -> list[Hold]:
        """What the tenant's requests held."""
        return [hold for hold in self.holds if hold.tenant == tenant]


@dataclass
class TenantRates:
    rates: Rates
    tenant: str

    def hold(self, request_id: str) -> Hold:
        hold = Hold(self.rates, self.tenant)
        self.rates.holds.append(hold)
        return hold
