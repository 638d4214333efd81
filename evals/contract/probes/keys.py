"""Keys cannot be enumerated: every wrong one gets the same answer, byte for byte."""

from __future__ import annotations

import secrets
import string

import httpx

from evals.contract.checks import Checks
from evals.contract.conversation import chat_body
from evals.contract.target import Pair

_ROUTES = (
    ("GET", "/v1/models", None),
    ("GET", "/v1/documents/verify-no-such-document", None),
    ("POST", "/v1/search", {"query": "returns"}),
    ("POST", "/v1/chat/completions", chat_body("Hello")),
)
# Differ between equal answers.
_VOLATILE = {"date", "x-request-id", "traceparent", "server-timing"}
_Said = tuple[int, tuple[tuple[str, str], ...], str]


async def probe(pair: Pair, checks: Checks) -> None:
    """Unknown, malformed and half-right keys are indistinguishable."""
    for tenant in (pair.a, pair.b):
        reply = await tenant.send("GET", "/v1/models")
        checks.control("the right key opens", reply.status_code == 200)
    wrong = _wrong_keys(pair.a.key, pair.b.key)
    reply = await pair.a.once("GET", "/v1/models", None, wrong["an unknown key"])
    told, seen = '"invalid_api_key"' in reply.text, f"status {reply.status_code}"
    if checks.control("a wrong key is told as invalid_api_key", told, seen):
        await _are_refused_alike(pair, wrong, checks)


async def _are_refused_alike(pair: Pair, wrong: dict[str, dict[str, str]], checks: Checks) -> None:
    for method, path, body in _ROUTES:
        said: dict[_Said, str] = {}
        for name, header in wrong.items():
            reply = await pair.a.once(method, path, body, header)
            checks.boundary(
                f"{method} {path.split('?')[0]} with {name} is refused",
                reply.status_code == 401,
                f"status {reply.status_code}",
            )
            said.setdefault(_said(reply), name)
        checks.boundary(
            f"{method} {path} answers all wrong keys alike",
            len(said) == 1,
            "different answers for: " + ", ".join(said.values()),
        )


def _wrong_keys(a: str, b: str) -> dict[str, dict[str, str]]:
    keys = {
        "an unknown key": _another_like(a),
        "a word": "hello",
        "a shortened key": a[:-1],
        "a lengthened key": f"{a}0",
        "a key in other case": a.swapcase(),
        "a known key id with a random secret": _head(a) + _another_like(_secret(a)),
        "a known key id without secret": _head(a),
        "a known key id with another tenant's secret": _head(a) + _secret(b),
        "a secret without its key id": _secret(a),
    }
    headers = {name: {"Authorization": f"Bearer {key}"} for name, key in keys.items()}
    return headers | {
        "no key": {},
        "an empty key": {"Authorization": "Bearer"},
        "another scheme": {"Authorization": f"Basic {a}"},
        "the key in another header": {"X-Api-Key": a},
    }


def _head(key: str) -> str:
    """`bk_<key id>_`; of a foreign format, its first half."""
    prefix, _, rest = key.partition("_")
    key_id, mark, _ = rest.partition("_")
    return f"{prefix}_{key_id}_" if mark else key[: len(key) // 2]


def _secret(key: str) -> str:
    return key[len(_head(key)) :]


def _another_like(key: str) -> str:
    """Random, of the same form: each letter and digit another one of its kind."""
    kinds = (string.ascii_lowercase, string.ascii_uppercase, "234567")
    made = []
    for character in key[3:]:
        kind = next((kind for kind in kinds if character in kind), character)
        made.append(secrets.choice(kind))
    return key[:3] + "".join(made)


def _said(reply: httpx.Response) -> _Said:
    headers = ((name, value) for name, value in reply.headers.items() if name not in _VOLATILE)
    return reply.status_code, tuple(sorted(headers)), reply.text
