"""Adapters: used, seen, listed, named and rolled out by their owner alone, and no prefix shared
between adapters or their versions.

Both tenants get an adapter of the same name, the first one with two versions, and one of a name of
its own. Their weights are random; nobody else is served by them, and at the end they are deleted.
"""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from evals.adapter_files import Files, packed, peft_config, random_tensors
from evals.contract.checks import Checks
from evals.contract.conversation import CHANCE, chat, chat_body, unsent_prompt
from evals.contract.target import Form, Pair, Tenant, UnjudgedError, results

_CHAT, _ADAPTERS, _MODELS = "/v1/chat/completions", "/v1/adapters", "/v1/models"
_UNKNOWN = "verify-no-such-adapter"
# Served together or not at all, and in every model of this kind.
_MODULES = ("q_proj", "v_proj")
_OFF = "the deployment serves no adapters"
_SHAPELESS = (
    "the deployment does not tell what adapters it accepts: give one that fits (--adapter FOLDER)"
)


@dataclass(frozen=True, slots=True)
class _Plant:
    """A tenant's adapters: `shared`, of both tenants, and `own`. more: versions of `shared` that
    the other tenant has not."""

    shared: str
    own: str
    more: tuple[str, ...]

    @property
    def foreign(self) -> list[str]:
        """Names that mean nothing to the other tenant."""
        return [self.own, f"{self.own}@1", *self.more]


async def probe(pair: Pair, checks: Checks) -> None:
    """What is one tenant's is unknown to the other, in the same words as what is nobody's."""
    listed = await pair.a.send("GET", _ADAPTERS)
    if listed.status_code == 404:
        checks.skip(_OFF)
        return
    if not checks.control("adapters are listed", listed.status_code == 200, _status(listed)):
        return
    made = [pair.adapter or _made(listed, seed) for seed in range(3)]
    files = [one for one in made if one is not None]
    if len(files) < len(made):
        checks.skip(_SHAPELESS)
        return
    async with _planted(pair, files) as plants:
        for victim, attacker in pair.directions:
            theirs = plants[victim.name]
            if await _works(victim, theirs, checks):
                await _unseen(victim, attacker, theirs, checks)
                await _unused(attacker, theirs, checks)
                await _unnamed(attacker, theirs, checks)
                await _unrolled(attacker, theirs, checks)
                await _works(victim, theirs, checks)
        await _rollouts(pair, plants, checks)
        for tenant in (pair.a, pair.b):
            await _caches(tenant, plants[tenant.name], checks)


def _made(listed: httpx.Response, seed: int) -> Files | None:
    """A small adapter of the shape that the deployment says it accepts."""
    try:
        accepts = listed.json()["accepts"]
        rank = min(2, int(accepts["rank"]))
        shapes = {name: (int(i), int(o)) for name, (i, o) in accepts["modules"].items()}
        wanted = {name: shapes[name] for name in _MODULES}
        weights = random_tensors(int(accepts["layers"]), wanted, rank, seed=seed)
        return packed(peft_config(str(accepts["base_model"]), _MODULES, rank), weights)
    except (ValueError, KeyError, TypeError):
        return None


@asynccontextmanager
async def _planted(pair: Pair, files: list[Files]) -> AsyncGenerator[dict[str, _Plant], None]:
    shared = f"verify-{pair.nonce}-shared"
    plants = {
        tenant.name: _Plant(
            shared,
            f"verify-{pair.nonce}-{secrets.token_hex(4)}",
            (f"{shared}@2",) if tenant is pair.a else (),
        )
        for tenant in (pair.a, pair.b)
    }
    names = {shared, *(plant.own for plant in plants.values())}
    try:
        for tenant, name, weights in (
            (pair.a, shared, files[0]),
            (pair.a, shared, files[1]),
            (pair.b, shared, files[2]),
            *((tenant, plants[tenant.name].own, files[0]) for tenant in (pair.a, pair.b)),
        ):
            await _upload(tenant, name, weights)
        yield plants
    finally:
        # Each tenant's names from both: a leak may put one anywhere.
        stays = [
            f"{name} of {tenant.name}"
            for tenant in (pair.a, pair.b)
            for name in sorted(names)
            if not await _removed(tenant, name)
        ]
    if stays:
        raise UnjudgedError(f"what was planted cannot be removed: {', '.join(stays)}")


async def _upload(tenant: Tenant, name: str, files: Files) -> None:
    form = Form({"name": name}, tuple(("files", item) for item in files.items()))
    reply = await tenant.send("POST", _ADAPTERS, form)
    if reply.status_code != 201:
        raise UnjudgedError(f"POST {_ADAPTERS} answers {reply.status_code}")


async def _removed(tenant: Tenant, name: str) -> bool:
    try:
        reply = await tenant.send("DELETE", f"{_ADAPTERS}/{name}")
    except UnjudgedError:
        return False
    return reply.is_success or reply.status_code == 404


async def _works(owner: Tenant, plant: _Plant, checks: Checks) -> bool:
    """The positive control, and that nothing which the other tenant tried has changed it."""
    shown = await owner.send("GET", f"{_ADAPTERS}/{plant.own}@1")
    checks.control("an owner sees its adapter", shown.status_code == 200, _status(shown))
    models = (await owner.send("GET", _MODELS)).text
    checks.control("an owner finds its adapter among the models", plant.own in models)
    replies = [
        await owner.send("POST", _CHAT, chat_body("Hello", model=name))
        for name in (plant.own, f"{plant.shared}@1", *plant.more)
    ]
    answered = all(reply.status_code == 200 for reply in replies)
    return checks.control("an owner is answered by its adapters", answered, _status(replies[0]))


async def _unseen(victim: Tenant, attacker: Tenant, theirs: _Plant, checks: Checks) -> None:
    for path in (_ADAPTERS, _MODELS):
        said = (await attacker.send("GET", path)).text
        seen = [name for name in theirs.foreign if f'"{name}"' in said]
        checks.boundary(f"GET {path} shows nothing foreign", not seen, f"{len(seen)} names")
    ids = [row.get("id") for row in results(await attacker.send("GET", _ADAPTERS))]
    other = await victim.send("GET", f"{_ADAPTERS}/{theirs.shared}")
    same = await attacker.send("GET", f"{_ADAPTERS}/{theirs.shared}")
    checks.boundary(
        "of a name that both have, each sees its own versions",
        ids.count(f"{theirs.shared}@1") == 1 and same.text != other.text,
        "the other tenant's",
    )


async def _unused(attacker: Tenant, theirs: _Plant, checks: Checks) -> None:
    for stream in (False, True):
        unknown = await _chat_by(attacker, _UNKNOWN, stream)
        checks.control("an unknown model is refused", unknown.status_code == 404, _status(unknown))
        for name in theirs.foreign:
            reply = await _chat_by(attacker, name, stream)
            _alike(checks, f"a chat by a foreign adapter, {name!r}", reply, name, unknown)


async def _chat_by(tenant: Tenant, model: str, stream: bool) -> httpx.Response:
    return await tenant.send("POST", _CHAT, chat_body("Hello", stream=stream, model=model))


async def _unnamed(attacker: Tenant, theirs: _Plant, checks: Checks) -> None:
    for method in ("GET", "DELETE"):
        unknown = await attacker.send(method, f"{_ADAPTERS}/{_UNKNOWN}@1")
        checks.control(f"{method} of an unknown adapter is refused", unknown.status_code == 404)
        for name in theirs.foreign:
            reply = await attacker.send(method, f"{_ADAPTERS}/{name}")
            _alike(checks, f"{method} of a foreign adapter, {name!r}", reply, name, unknown)


async def _unrolled(attacker: Tenant, theirs: _Plant, checks: Checks) -> None:
    """Rollouts of a name that is not the attacker's: as of one that is nobody's."""
    requests: list[tuple[str, str, Mapping[str, Any] | None]] = [
        ("POST", "", {"candidate": 1, "control": 1, "percent": 50}),
        ("GET", "", None),
        ("POST", "/start", None),
        ("POST", "/scores", {"version": 1, "scores": [0.5]}),
        ("POST", "/release", None),
        ("DELETE", "", None),
    ]
    for method, path, body in requests:
        replies = [
            await attacker.send(method, f"{_ADAPTERS}/{name}/rollouts{path}", body)
            for name in (_UNKNOWN, theirs.own)
        ]
        what = f"{method} rollouts{path} of a foreign adapter"
        refused = replies[0].status_code
        checks.control(f"{method} rollouts{path} of nobody's is refused", 400 <= refused < 500)
        _alike(checks, what, replies[1], theirs.own, replies[0])


async def _rollouts(pair: Pair, plants: Mapping[str, _Plant], checks: Checks) -> None:
    """One tenant rolls out a version; the other has an adapter of that name, and no rollout."""
    path = f"{_ADAPTERS}/{plants[pair.a.name].shared}/rollouts"
    unknown = await pair.b.send("GET", path)
    begun = await pair.a.send("POST", path, {"candidate": 2, "control": 1, "percent": 90})
    if not checks.control("an owner rolls out", begun.status_code == 201, _status(begun)):
        return
    shown = await pair.a.send("GET", path)
    checks.control("an owner sees its rollout", shown.status_code == 200, _status(shown))
    for method in ("GET", "DELETE"):
        reply = await pair.b.send(method, path)
        _alike(checks, f"{method} of a rollout of the same name", reply, "", unknown)
    kept = (await pair.a.send("GET", path)).text
    checks.boundary("a rollout is ended by its owner alone", '"running"' in kept, "ended")
    ended = await pair.a.send("DELETE", path)
    checks.control("an owner ends its rollout", ended.is_success, _status(ended))


async def _caches(tenant: Tenant, plant: _Plant, checks: Checks) -> None:
    """A prompt that one model has answered is new to the others."""
    models = ["base", plant.own, f"{plant.shared}@1", *plant.more]
    usual = {model: await _usual(tenant, model) for model in models}
    for model in models[1:]:
        prompt = unsent_prompt()
        first, again = [await _cached(tenant, model, prompt) for _ in range(2)]
        seen = f"{first} tokens cached at first, {again} when repeated"
        checks.control("an adapter hits its own prefix", again > first + CHANCE, seen)
        for other in models:
            if other == model:
                continue
            stolen = await _cached(tenant, other, prompt)
            checks.boundary(
                "what one adapter or version has computed, no other hits",
                stolen <= usual[other] + CHANCE,
                f"{stolen} tokens cached, {usual[other]} for a prompt that nobody sent",
            )


async def _usual(tenant: Tenant, model: str) -> int:
    # Its own beginnings (system text, turn markers) are warm before it is measured.
    await _cached(tenant, model, unsent_prompt())
    return await _cached(tenant, model, unsent_prompt())


async def _cached(tenant: Tenant, model: str, prompt: str) -> int:
    answer = await chat(tenant, "Hello", earlier=prompt, model=model)
    if answer.cached_tokens is None:
        raise UnjudgedError("the target reports no usage.prompt_tokens_details.cached_tokens")
    return answer.cached_tokens


def _alike(
    checks: Checks, what: str, reply: httpx.Response, name: str, unknown: httpx.Response
) -> None:
    """Refused as what is nobody's: the same status, and the same body but for the name."""
    said, wanted = reply.text.replace(name or "\0", ""), unknown.text.replace(_UNKNOWN, "")
    holds = reply.status_code == unknown.status_code and _shape(said) == _shape(wanted)
    what = what.replace(f", {name!r}", " by version" if "@" in name else "")
    checks.boundary(f"{what} is answered as nobody's", holds, _status(reply))


def _shape(body: str) -> str:
    return body.replace("@1", "").replace("@2", "")


def _status(reply: httpx.Response) -> str:
    return f"status {reply.status_code}"
