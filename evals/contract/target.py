"""The deployment under test, as two of its tenants reach it over HTTP."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from evals.adapter_files import Files

_TIMEOUT = httpx.Timeout(300, connect=10)
_ATTEMPTS, _LONGEST_WAIT = 5, 10.0


class UnjudgedError(Exception):
    """The target did not do what a probe needs: nothing can be said of its boundaries."""


@dataclass(frozen=True, slots=True)
class Account:
    """A tenant of the target: what the report calls it, and its key."""

    name: str
    key: str

    def __repr__(self) -> str:
        return f"Account(name={self.name!r})"


@dataclass(frozen=True, slots=True)
class MemberAccount:
    """A further key of a tenant, which sees what is of one group or of none."""

    tenant: str
    group: str
    key: str

    def __repr__(self) -> str:
        return f"MemberAccount(tenant={self.tenant!r}, group={self.group!r})"


@dataclass(frozen=True, slots=True)
class Form:
    """A multipart form in place of a JSON body. files: field, and (file name, content)."""

    fields: Mapping[str, str]
    files: tuple[tuple[str, tuple[str, bytes]], ...]


Body = Mapping[str, Any] | Form | None


@dataclass(slots=True)
class Trace:
    """The last request of a run, so that a finding can say which one it was."""

    last: str = ""


class Tenant:
    """One tenant's way to the target."""

    def __init__(self, account: Account, client: httpx.AsyncClient, trace: Trace) -> None:
        self.name = account.name
        self.key = account.key
        self._client = client
        self._trace = trace

    async def send(
        self,
        method: str,
        path: str,
        body: Body = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """One request; waits and tries again where the target says that it is busy.

        Raises:
            UnjudgedError: it is not reached, or stays busy.
        """
        for _ in range(_ATTEMPTS):
            reply = await self.once(method, path, body, {**self.authorization, **(headers or {})})
            if reply.status_code not in (429, 503):
                return reply
            await asyncio.sleep(_wait(reply))
        raise UnjudgedError(f"{method} {path} stays busy: status {reply.status_code}")

    async def once(
        self, method: str, path: str, body: Body, headers: Mapping[str, str]
    ) -> httpx.Response:
        """One request with just these headers.

        Raises:
            UnjudgedError: the target is not reached.
        """
        mine = headers.get("Authorization") == self.authorization["Authorization"]
        self._trace.last = f"{self.name if mine else 'a stranger'}: {method} {path}"
        try:
            return await self._client.request(method, path, headers=headers, **_content(body))
        except httpx.HTTPError as error:
            raise UnjudgedError(f"{method} {path} failed: {type(error).__name__}") from error

    @property
    def authorization(self) -> dict[str, str]:
        """The header that says who asks."""
        return {"Authorization": f"Bearer {self.key}"}


@dataclass(frozen=True, slots=True)
class Member:
    """A key of one group: `key` asks with it, `owner` is its tenant without the restriction, and
    `other` the other tenant."""

    group: str
    key: Tenant
    owner: Tenant
    other: Tenant


@dataclass(frozen=True, slots=True)
class Pair:
    """Two tenants of one target. `nonce` is new in each run: nothing of an earlier one is met.

    adapter: one that fits the target's base model, where the target itself does not say what fits.
    """

    a: Tenant
    b: Tenant
    nonce: str
    trace: Trace
    members: tuple[Member, ...] = ()
    adapter: Files | None = None

    @property
    def directions(self) -> tuple[tuple[Tenant, Tenant], tuple[Tenant, Tenant]]:
        """(victim, attacker), both ways."""
        return (self.a, self.b), (self.b, self.a)


@asynccontextmanager
async def reached(
    url: str,
    a: Account,
    b: Account,
    transport: httpx.AsyncBaseTransport | None = None,
    members: Sequence[MemberAccount] = (),
    adapter: Files | None = None,
) -> AsyncGenerator[Pair, None]:
    """Both tenants' connections. `transport`: for a target inside this process."""
    trace = Trace()
    async with AsyncExitStack() as stack:

        async def tenant(account: Account) -> Tenant:
            # A client each: not even a cookie is shared.
            client = httpx.AsyncClient(base_url=url, timeout=_TIMEOUT, transport=transport)
            return Tenant(account, await stack.enter_async_context(client), trace)

        async def member(account: MemberAccount) -> Member:
            key = await tenant(Account(f"{account.tenant}:{account.group}", account.key))
            owner, other = (one, two) if account.tenant == one.name else (two, one)
            return Member(account.group, key, owner, other)

        one, two = await tenant(a), await tenant(b)
        restricted = tuple([await member(account) for account in members])
        yield Pair(one, two, secrets.token_hex(4), trace, restricted, adapter)


def results(reply: httpx.Response) -> list[dict[str, Any]]:
    """The `data` of a list; a refusal has none.

    Raises:
        UnjudgedError: it is not a list of objects.
    """
    if reply.status_code != 200:
        return []
    try:
        found = reply.json()["data"]
    except (ValueError, KeyError, TypeError) as error:
        raise UnjudgedError("an answer has no `data`") from error
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise UnjudgedError("the `data` of an answer is not a list of objects")
    return found


def _content(body: Body) -> dict[str, Any]:
    if isinstance(body, Form):
        return {"data": dict(body.fields), "files": list(body.files)}
    return {"json": body}


def _wait(reply: httpx.Response) -> float:
    try:
        return min(float(reply.headers.get("retry-after", "1")), _LONGEST_WAIT)
    except ValueError:
        return 1.0
