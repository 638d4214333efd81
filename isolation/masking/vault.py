"""One request's placeholders and what they stand for. It lives and dies with the request."""

from __future__ import annotations

from collections.abc import Mapping

from isolation.context import TenantContext, require_same_tenant
from isolation.tenant_id import TenantId


class RequestVault:
    """Restores placeholders, for the tenant whose request it was and for nobody else."""

    __slots__ = ("_owner", "_values")

    def __init__(self, ctx: TenantContext, values: Mapping[str, str]) -> None:
        self._owner: TenantId = ctx.tenant_id
        self._values = dict(values)

    def stream(self, ctx: TenantContext) -> Restoring:
        """Restores a stream.

        Raises:
            CrossTenantError: `ctx` is another tenant's.
        """
        require_same_tenant(ctx, self._owner, "the vault")
        return Restoring(self._values)

    def restore(self, ctx: TenantContext, text: str) -> str:
        """Restores a whole text.

        Raises:
            CrossTenantError: `ctx` is another tenant's.
        """
        stream = self.stream(ctx)
        return stream.feed(text) + stream.flush()

    def __repr__(self) -> str:
        return f"<RequestVault of {len(self._values)} values>"


class Restoring:
    """A `StreamTransform`. Holds back only what may become one of the vault's placeholders."""

    __slots__ = ("_held", "_values")

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = values
        self._held = ""

    def feed(self, text: str) -> str:
        return self._restored(self._held + text, final=False)

    def flush(self) -> str:
        return self._restored(self._held, final=True)

    def _restored(self, text: str, *, final: bool) -> str:
        out: list[str] = []
        position = 0
        while (start := text.find("<", position)) >= 0:
            out.append(text[position:start])
            found = self._placeholder_at(text, start)
            if found is not None:
                # Restored values are not looked through again: they may look like placeholders.
                out.append(self._values[found])
                position = start + len(found)
            elif not final and self._may_become_one(text[start:]):
                self._held = text[start:]
                return "".join(out)
            else:
                out.append("<")
                position = start + 1
        self._held = ""
        return "".join([*out, text[position:]])

    def _placeholder_at(self, text: str, start: int) -> str | None:
        return next((p for p in self._values if text.startswith(p, start)), None)

    def _may_become_one(self, tail: str) -> bool:
        return any(placeholder.startswith(tail) for placeholder in self._values)
