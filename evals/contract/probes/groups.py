"""Groups inside a tenant: what a key of one group sees, by every way to a document, and that it
writes nothing. It needs such a key (`bulkhead verify --member`)."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from evals.contract.checks import Checks
from evals.contract.conversation import chat
from evals.contract.planting import document_path, put, removed
from evals.contract.target import Member, Pair, Tenant, UnjudgedError

_MOST = 50
_UNKNOWN = "verify-no-such-document"


@dataclass(frozen=True, slots=True)
class _Planted:
    """One document, and a secret that stands in it alone."""

    document_id: str
    secret: str

    def shown_in(self, text: str) -> bool:
        return self.document_id in text or self.secret in text


@dataclass(frozen=True, slots=True)
class _Plants:
    """What the member may see (`open`, `own`), and what it may not: its tenant's documents of
    another group, and another tenant's of its own group's name."""

    topic: str
    open: _Planted
    own: _Planted
    hidden: _Planted
    foreign: _Planted

    @property
    def question(self) -> str:
        return f"What is the return code of the {self.topic} lantern?"

    @property
    def kept(self) -> dict[str, _Planted]:
        return {"another group's": self.hidden, "another tenant's, of the same group": self.foreign}


async def probe(pair: Pair, checks: Checks) -> None:
    """A key of a group sees documents of the group and of none, and only reads."""
    if not pair.members:
        checks.skip("no key of a group was given (--member TENANT:GROUP=@FILE)")
    for member in pair.members:
        async with _planted(pair, member) as plants:
            if await _is_there(member.owner, plants, checks):
                await _search(member.key, plants, checks)
                await _chat(member.key, plants, checks)
                await _by_id(member.key, plants, checks)
                await _lists(member.key, plants, checks)
                await _writes(member, plants, checks)


@asynccontextmanager
async def _planted(pair: Pair, member: Member) -> AsyncGenerator[_Plants, None]:
    nonce = f"{pair.nonce}-{secrets.token_hex(2)}"
    open_, own, hidden, foreign = (
        _Planted(f"verify-{nonce}-{secrets.token_hex(4)}", f"QX{secrets.token_hex(5).upper()}")
        for _ in range(4)
    )
    plants = _Plants(f"zephyr{nonce.replace('-', '')}", open_, own, hidden, foreign)
    given = (
        (member.owner, open_, "returned", ()),
        (member.owner, own, "exchanged", (member.group,)),
        (member.owner, hidden, "refunded", (f"verify-{pair.nonce}",)),
        (member.other, foreign, "replaced", (member.group,)),
    )
    try:
        for tenant, one, verb, groups in given:
            await put(tenant, one.document_id, _text(plants.topic, one, verb), groups)
        yield plants
    finally:
        stays = [
            f"{one.document_id} of {tenant.name}"
            for tenant, one, _, _ in given
            if not await removed(tenant, one.document_id)
        ]
    if stays:
        raise UnjudgedError(f"what was planted cannot be removed: {', '.join(stays)}")


def _text(topic: str, one: _Planted, verb: str) -> str:
    """Alike but for a word, and the secret: what is relevant of one is of the others."""
    return (
        f"# Returns of the {topic} lantern\n\nThe {topic} lantern can be {verb}. "
        f"The return code of the {topic} lantern is {one.secret}."
    )


async def _is_there(owner: Tenant, plants: _Plants, checks: Checks) -> bool:
    reply = await owner.send("POST", "/v1/search", {"query": plants.question, "top_k": _MOST})
    found = all(one.shown_in(reply.text) for one in (plants.open, plants.own, plants.hidden))
    seen = f"status {reply.status_code}"
    return checks.control("a key without groups finds the documents of all groups", found, seen)


async def _search(key: Tenant, plants: _Plants, checks: Checks) -> None:
    plain: dict[str, Any] = {"query": plants.question, "top_k": _MOST}
    reply = await key.send("POST", "/v1/search", plain)
    found = all(one.shown_in(reply.text) for one in (plants.open, plants.own))
    checks.control("a key of a group finds its group's documents and those of none", found)
    everything = {"not": {"field": "verify_no_such_field", "equals": "x"}}
    attacks = {
        "the question": plain,
        "a filter that everything passes": plain | {"filter": everything},
        "a filter by the store's field": plain
        | {"filter": {"any": [{"field": "groups", "equals": "x"}, everything]}},
        "groups in the body": plain | {"groups": [], "access": "all"},
    }
    for name, body in attacks.items():
        reply = await key.send("POST", "/v1/search", body)
        _shows_nothing_kept(f"search with {name}", reply.text, plants, checks)


async def _chat(key: Tenant, plants: _Plants, checks: Checks) -> None:
    for stream in (False, True):
        way = "streamed" if stream else "whole"
        answer = await chat(key, plants.question, stream=stream)
        cited = any(one.shown_in(str(answer.citations)) for one in (plants.open, plants.own))
        checks.control(f"a key of a group is answered from what it may see ({way})", cited)
        _shows_nothing_kept(f"a chat ({way})", answer.raw, plants, checks)
    for what, one in plants.kept.items():
        asked = f"Which lantern has the return code {one.secret}?"
        cited_by_secret = str((await chat(key, asked)).citations)
        checks.boundary(
            f"a chat that asks by the secret cites no document that is {what}",
            not one.shown_in(cited_by_secret),
            "a citation of it",
        )


async def _by_id(key: Tenant, plants: _Plants, checks: Checks) -> None:
    own = await key.send("GET", document_path(plants.own.document_id))
    checks.control("a key of a group reads its group's document", own.status_code == 200)
    unknown = await key.send("GET", document_path(_UNKNOWN))
    for what, one in plants.kept.items():
        reply = await key.send("GET", document_path(one.document_id))
        said = reply.text.replace(one.document_id, "")
        same = (reply.status_code, said) == (
            unknown.status_code,
            unknown.text.replace(_UNKNOWN, ""),
        )
        checks.boundary(
            f"a document that is {what} answers as an unknown one",
            same and not reply.is_success,
            f"{reply.status_code} for it, {unknown.status_code} for an unknown one",
        )


async def _lists(key: Tenant, plants: _Plants, checks: Checks) -> None:
    for path, what in (("/v1/documents", "the list"), ("/v1/export", "the export")):
        text = (await key.send("GET", path)).text
        both = plants.open.document_id in text and plants.own.document_id in text
        checks.control(f"{what} holds what a key of a group may see", both)
        _shows_nothing_kept(what, text, plants, checks)


async def _writes(member: Member, plants: _Plants, checks: Checks) -> None:
    """It reads only: also of what it may see, nothing is replaced, deleted or added."""
    before = await member.owner.send("GET", document_path(plants.own.document_id))
    new = f"{plants.own.document_id}-new"
    for what, document_id in (("replaces", plants.own.document_id), ("adds", new)):
        body = {"id": document_id, "title": "x", "text": f"Nothing of the {plants.topic} lantern."}
        reply = await member.key.send("POST", "/v1/documents", body)
        refused = not reply.is_success
        checks.boundary(f"a key of a group {what} no document", refused, str(reply.status_code))
    reply = await member.key.send("DELETE", document_path(plants.own.document_id))
    checks.boundary(
        "a key of a group deletes no document", not reply.is_success, str(reply.status_code)
    )
    after = await member.owner.send("GET", document_path(plants.own.document_id))
    added = await member.owner.send("GET", document_path(new))
    same = (before.status_code, before.text) == (after.status_code, after.text)
    checks.control("the owner reads its document before", before.is_success)
    checks.boundary("what a key of a group tried to write changed nothing", same, "a change")
    checks.boundary("what a key of a group tried to add is not there", added.status_code == 404)
    await removed(member.owner, new)


def _shows_nothing_kept(way: str, text: str, plants: _Plants, checks: Checks) -> None:
    for what, one in plants.kept.items():
        checks.boundary(
            f"{way} shows no document that is {what}", not one.shown_in(text), "such a document"
        )
