"""Attacks through the gateway's routes, with a tenant's key."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx

from evals.leakage.attack import DISCLOSURE, POISONING, Attack, Attempt, Shown
from evals.leakage.attacks.filters import generated, malformed
from evals.leakage.attacks.reading import holds_vector
from evals.leakage.routes import Routes
from evals.leakage.world import World
from rag.filter_json import filter_as_json


class OverHttp:
    """The attacks on one gateway."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes

    def attacks(self, count: int, at_least: int) -> dict[Attack, int]:
        """How many attacks of each class make about `count`."""
        classes = (
            (25, Attack("routes: search", self.search)),
            (20, Attack("routes: filters", self.filters)),
            (20, Attack("routes: ids", self.ids)),
            (20, Attack("routes: groups", self.groups, parties=World.one)),
            (5, Attack("routes: id-squatting", self.squatting, POISONING)),
            (5, Attack("routes: poisoning", self.poisoning, POISONING)),
            (5, Attack("routes: unknown-or-foreign", self.unknown_or_foreign, DISCLOSURE)),
        )
        return {attack: max(at_least, round(count * share / 100)) for share, attack in classes}

    async def search(self, attempt: Attempt) -> Shown:
        """The victim's words; some name the victim in a header, a parameter or a field."""
        goal, random = attempt.goal(), attempt.random
        text = random.choice((goal.question, goal.document.text, goal.canary))
        body: dict[str, Any] = {"query": text, "top_k": random.choice((1, 5, 50))}
        named: dict[str, Any] = random.choice(
            (
                {},
                {},
                {"headers": {"x-tenant-id": goal.owner, "x-bulkhead-tenant": goal.owner}},
                {"params": {"tenant_id": goal.owner, "tenant": goal.owner}},
            )
        )
        if random.random() < 0.1:
            body |= {random.choice(("tenant_id", "namespace", "with_vectors")): goal.owner}
        client = self._routes.of(attempt.caller)
        return _shown(attempt, await client.post("/v1/search", json=body, **named))

    async def filters(self, attempt: Attempt) -> Shown:
        """Filters as JSON, well-formed and not."""
        goal, random = attempt.goal(), attempt.random
        given = filter_as_json(generated(random, goal))
        body = {"query": goal.question, "top_k": 50, "filter": given}
        if random.random() < 0.2:
            body["filter"] = malformed(random, goal)
        client = self._routes.of(attempt.caller)
        return _shown(attempt, await client.post("/v1/search", json=body))

    async def ids(self, attempt: Attempt) -> Shown:
        """The victim's ids in paths, and listings that ask for the victim's."""
        goal, random, client = attempt.goal(), attempt.random, self._routes.of(attempt.caller)
        if random.random() < 0.3:
            asked = {"tenant_id": goal.owner, "after": goal.id}
            return _shown(attempt, await client.get("/v1/documents", params=asked))
        spelled = (f"{goal.owner}/{goal.id}", f"../{goal.owner}/{goal.id}", f"{goal.id}%00")
        name = goal.id if random.random() < 0.7 else random.choice(spelled)
        return _shown(attempt, await client.get(f"/v1/documents/{quote(name, safe='')}"))

    async def groups(self, attempt: Attempt) -> Shown:
        """A restricted key, after its own tenant's other documents."""
        client = self._routes.of(attempt.caller)
        match attempt.random.randrange(5):
            case 0:
                return await self.search(attempt)
            case 1:
                return await self.filters(attempt)
            case 2:
                return await self.ids(attempt)
            case 3:
                return _shown(attempt, await client.get("/v1/documents"))
            case _:
                return await self._restricted_write(attempt)

    async def _restricted_write(self, attempt: Attempt) -> Shown:
        """A restricted key writes nothing. In the control it is a document of its own, which goes
        again: a copy of a hidden one that all may see would be found by what follows."""
        client, name = self._routes.of(attempt.caller), attempt.goal().id
        if attempt.caller.access.unrestricted:
            name = f"written-{attempt.random.getrandbits(40):x}"
        path = f"/v1/documents/{name}"
        answer = await _put(client, path, "Mine now.")
        if answer.is_success and attempt.caller.access.unrestricted:
            await client.delete(path)
        refused = answer.status_code == httpx.codes.FORBIDDEN
        return attempt.shown(_all(answer), "" if refused else "a restricted key has written")

    async def squatting(self, attempt: Attempt) -> Shown:
        """Writes and deletes under the id of a document of the victim."""
        random, victim = attempt.random, self._routes.of(attempt.victim)
        path = f"/v1/documents/squatted-{random.getrandbits(40):x}"
        target = attempt.world.draft(attempt.victim, path.rpartition("/")[2], random)
        mine = attempt.world.draft(attempt.attacker, target.id, random)
        await _put(victim, path, target.document.text)
        before = await self._state(attempt, path, target.document.text)
        caller = self._routes.of(attempt.caller)
        if random.random() < 0.5:
            await caller.delete(path)
        else:
            await _put(caller, path, mine.document.text)
        after = await self._state(attempt, path, target.document.text)
        for client in {victim, caller}:
            await client.delete(path)
        changed = "" if before == after else "the victim's document has changed"
        return Shown(attempt.victim, after, changed)

    async def _state(self, attempt: Attempt, path: str, text: str) -> object:
        client = self._routes.of(attempt.victim)
        entry = await client.get(path)
        found = await client.post("/v1/search", json={"query": text, "top_k": 5})
        listed = await client.get("/v1/documents")
        return entry.status_code, entry.json(), _ranking(found.json()["data"]), listed.json()

    async def poisoning(self, attempt: Attempt) -> Shown:
        """Documents that match a question of the victim's better than its own."""
        goal, random = attempt.goal(), attempt.random
        victim, caller = self._routes.of(attempt.victim), self._routes.of(attempt.caller)
        body = {"query": goal.question, "top_k": 5}
        before = (await victim.post("/v1/search", json=body)).json()["data"]
        name = f"poison-{random.getrandbits(40):x}"
        poison = attempt.world.draft(attempt.attacker, name, random, text=goal.question)
        await _put(caller, f"/v1/documents/{name}", f"{goal.question} {poison.document.text}")
        after = (await victim.post("/v1/search", json=body)).json()["data"]
        await caller.delete(f"/v1/documents/{name}")
        same = _ranking(before) == _ranking(after)
        return Shown(attempt.victim, after, "" if same else "the victim's results have changed")

    async def unknown_or_foreign(self, attempt: Attempt) -> Shown:
        """Status, body and headers are those for an id that is nobody's."""
        random, victim = attempt.random, self._routes.of(attempt.victim)
        foreign, unknown = (f"{kind}-{random.getrandbits(40):x}" for kind in ("foreign", "unknown"))
        target = attempt.world.draft(attempt.victim, foreign, random)
        await _put(victim, f"/v1/documents/{foreign}", target.document.text)
        method, client = random.choice(("GET", "DELETE")), self._routes.of(attempt.caller)
        seen = []
        for name in (foreign, unknown):
            answer = await client.request(method, f"/v1/documents/{name}")
            seen.append((answer.status_code, answer.text.replace(name, ""), _headers(answer)))
        await victim.delete(f"/v1/documents/{foreign}")
        told = f"{method} tells a foreign id from an unknown one"
        return attempt.shown(seen, "" if seen[0] == seen[1] else told)


async def _put(client: httpx.AsyncClient, path: str, text: str) -> httpx.Response:
    posted = {"id": path.removeprefix("/v1/documents/"), "text": text}
    return await client.post("/v1/documents", json=posted)


def _shown(attempt: Attempt, answer: httpx.Response) -> Shown:
    broken = ""
    if answer.is_server_error:
        broken = "the gateway has failed"
    elif holds_vector(answer.json()):
        broken = "a vector has left"
    return attempt.shown(_all(answer), broken)


def _all(answer: httpx.Response) -> object:
    return answer.status_code, answer.text, _headers(answer)


def _headers(answer: httpx.Response) -> dict[str, str]:
    """Without what differs from request to request."""
    own = {"x-request-id", "content-length", "date"}
    return {name: value for name, value in answer.headers.items() if name not in own}


def _ranking(data: list[dict[str, Any]]) -> object:
    """As `writing.ranking`: ties fall by chance."""
    scores = [one["score"] for one in data]
    return scores, sorted(one["text"] for one in data if one["score"] > scores[-1])
