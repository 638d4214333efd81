"""`bulkhead bench gateway` on a short load: a real gateway, and every request answered whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from aiohttp import web

from evals.performance import neighbours
from evals.performance.corpus import Corpus
from evals.performance.load import Load, LoadError, Target, run
from evals.performance.peers import LocalMode, NumpySlab
from isolation.tenant_id import TenantId
from isolation.testing.contexts import tenant_for_tests
from rag.documents import Chunk, DocumentVersion, EmbeddedChunk
from rag.store.edge.store import EdgeVectorStore
from rag.store.port import HybridQuery
from rag.store.terms import TermCounter, TermSpace
from tests.embedded.forks import bulkhead

BULKHEAD = Path(sys.executable).with_name("bulkhead")


def test_the_benchmark_measures_all_cells_and_says_on_what(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    command = [BULKHEAD, "bench", "gateway", "--requests", "30", "--out", str(result)]
    subprocess.run(command, check=True, capture_output=True)
    report = json.loads(result.read_text())
    cells = {(cell["stream"], cell["concurrency"]) for cell in report["cells"]}
    assert cells == {(False, 1), (False, 32), (True, 1), (True, 32)}
    for cell in report["cells"]:
        assert cell["requests_per_side"] == 30
        for side in ("direct", "gateway"):
            assert 0 < cell[side]["p50_ms"] <= cell[side]["p99_ms"]
    assert report["environment"]["machine"]["cores"]
    assert report["litellm_reference"]["measured_in_this_run"] is False


@pytest.mark.parametrize("reply", [web.Response(status=429), web.Response(body=b"data: half")])
async def test_a_request_that_fails_fails_the_run(reply: web.Response) -> None:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(status=reply.status, body=reply.body)

    app = web.Application()
    app.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        with pytest.raises(LoadError):
            await run(Target(f"http://{host}:{port}", "k", "m"), Load(1, 1, True), lambda n: None)
    finally:
        await runner.cleanup()


async def test_a_target_that_is_away_fails_the_run(unused_tcp_port: int) -> None:
    target = Target(f"http://127.0.0.1:{unused_tcp_port}", "k", "m")
    with pytest.raises(LoadError):
        await run(target, Load(1, 1, False), lambda n: None)


async def test_neighbours_are_measured_each_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short, and no figure: that all of it is asked."""
    monkeypatch.setattr(neighbours, "BATCH", 8)
    monkeypatch.setattr(neighbours, "_CHUNK", 200)
    monkeypatch.setattr(neighbours, "_LONG", 3_000)
    monkeypatch.setattr(neighbours, "_BODY", 30_000)
    plan = neighbours.Plan(asked=2, messages=2, prompts=2)
    result = await neighbours.measure(plan, lambda said: None)
    for part in ("embedding", "masking", "prompts"):
        assert list(result[part]["ms"]) == ["alone", "in_turns", "first_come"]
        for times in result[part]["ms"].values():
            assert times["asked"] == 2
            assert 0 < times["p50"] <= times["max"]


def test_the_retrieval_benchmark_finds_what_post_filtering_loses(tmp_path: Path) -> None:
    result = tmp_path / "result.json"
    size = ["--points", "2000", "--tenants", "30", "--questions", "20", "--grown", "5000"]
    size += ["--local-questions", "1"]
    ran = bulkhead(["bench", "retrieval", *size, "--out", str(result)], os.environ)
    assert ran.returncode == 0, ran.stderr
    report = json.loads(result.read_text())
    for state in ("as_written", "optimized"):
        for cell in report[state].values():
            assert cell["recall_at_10"] >= 0.99
        assert report[state]["smallest"]["recall_at_10_post_filtered"] < 0.99
    assert len(report["growth"]["steps"]) == 2
    assert set(report["peers"]) == {"largest", "median", "smallest"}


async def test_the_peers_answer_the_same_question(tmp_path: Path) -> None:
    """A peer that answers another question would be compared for nothing."""
    store = EdgeVectorStore.open(tmp_path / "shard", 384)
    local, corpus, counter = LocalMode(384), Corpus(1_000, 5, 384, 7), TermCounter(TermSpace.shared)
    tenants = list(corpus.tenants())
    for tenant in tenants:
        local.put(tenant, partial(counter.of_document, TenantId(tenant.name)))
        chunks = [
            EmbeddedChunk(Chunk(row, text), tenant.vectors[row].tolist())
            for row, text in enumerate(tenant.texts)
        ]
        mine = store.of(tenant_for_tests(tenant.name))
        await mine.upsert(DocumentVersion("d", "v", "D"), chunks)
    asked = tenants[1]
    mine, name = store.of(tenant_for_tests(asked.name)), TenantId(asked.name)
    slab = NumpySlab(asked, partial(counter.of_document, name))
    agree = {"slab": 0, "local": 0}
    for question in corpus.questions(asked, 20):
        found = await mine.search(HybridQuery(question.text, question.dense), limit=10)
        rows, sparse = {one.ordinal for one in found}, counter.of_query(name, question.text)
        agree["slab"] += len(rows & set(slab.search(question, sparse, 10)))
        # Local mode weighs terms over everybody's documents.
        agree["local"] += len(rows & set(local.search(asked.name, question, sparse, 10)))
    local.close()
    await store.close()
    # Ties of the fusion fall either way.
    assert agree["slab"] >= 0.85 * 200, agree
    assert agree["local"] >= 0.6 * 200, agree
