"""SGLang itself, on this machine: what isolation relies on, seen on the real part."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from isolation.context import TenantContext
from isolation.namespaces import Namespace
from isolation.testing.contexts import operator_for_tests, tenant_for_tests
from serving.cli.engine import worker_of
from serving.control.public_prefixes import PublicPrefixRecords, SharedText
from serving.embedded.public_prefixes import PublicPrefixes, keeping
from serving.engine.client import EngineClient, Job, TokenUsage
from serving.engine.launch import launch
from serving.engine.local import LocalEngine
from serving.engine.probe import probe
from serving.engine.tokens import TokenizerCounter
from serving.errors import EngineUnavailableError
from serving.settings import Settings
from serving.supervision.process import Command, GuardedProcess
from tests.databases import fresh_database
from tests.engine.wire import Wire
from tests.signing import signer_for_tests

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

OPERATOR = operator_for_tests()
FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")


def _namespace() -> Namespace:
    return Namespace(secrets.token_hex(32))


def _job(text: str, max_tokens: int = 2) -> Job:
    messages = [{"role": "user", "content": text}]
    return Job(secrets.token_hex(16), messages, max_tokens, {"temperature": 0})


async def _usage(
    engine: EngineClient, ctx: TenantContext, namespace: Namespace, job: Job
) -> TokenUsage:
    deltas = [delta async for delta in engine.of(ctx, namespace).stream(job)]
    (usage,) = [delta.usage for delta in deltas if delta.usage is not None]
    return usage


async def test_the_worker_passes_the_probe(engine: EngineClient) -> None:
    await probe(engine, tenant_for_tests("platform-probe"))


async def test_one_tenant_never_hits_the_prefix_of_another(engine: EngineClient) -> None:
    text = "What is your return policy? " * 20 + secrets.token_hex(4)
    own, other = _namespace(), _namespace()
    assert (await _usage(engine, FJELLVIK, own, _job(text))).cached == 0
    assert (await _usage(engine, FJELLVIK, own, _job(text))).cached > 100  # the positive control
    assert (await _usage(engine, VOLTBAY, other, _job(text))).cached == 0
    # The leaky twin: a gateway that gave both one namespace would be seen by the same check.
    assert (await _usage(engine, VOLTBAY, own, _job(text))).cached > 100


async def test_the_gateway_counts_tokens_as_the_engine_does(
    engine: EngineClient, tiny_model: Path
) -> None:
    counter = TokenizerCounter(tiny_model)
    for text in ("Hello", "Price: NOK 1,299 – ø å 漢字 👍", "a\n\n  b\t" * 30):
        job = _job(text)
        usage = await _usage(engine, FJELLVIK, _namespace(), job)
        assert usage.prompt == counter.count_messages(job.messages)


async def test_a_closed_stream_stops_the_generation_in_the_engine(engine: EngineClient) -> None:
    job = replace(_job("Tell me everything."), max_tokens=7_000, sampling={"ignore_eos": True})
    stream = engine.of(FJELLVIK, _namespace()).stream(job)
    await anext(stream)
    async with asyncio.timeout(60):
        while await Wire(engine).running() == 0:
            await asyncio.sleep(0.05)
        await stream.aclose()
        while await Wire(engine).running():
            await asyncio.sleep(0.05)


async def test_a_caller_without_the_key_gets_nothing(engine: EngineClient) -> None:
    stranger = EngineClient(engine.url, model="base", api_key="wrong", signer=signer_for_tests())
    with pytest.raises(EngineUnavailableError):
        await _usage(stranger, FJELLVIK, _namespace(), _job("Hello"))
    with pytest.raises(EngineUnavailableError):
        await stranger.server_info()
    await stranger.close()


async def test_no_key_stands_in_a_command_line_or_in_the_log(local_engine: LocalEngine) -> None:
    key = local_engine.client()._session.headers["Authorization"].removeprefix("Bearer ")
    lines = [" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])]
    assert any("serving.engine_plugin.worker" in line for line in lines)
    assert not any(key in line for line in lines)
    assert key not in local_engine.log.read_text()


async def test_a_prompt_never_reaches_the_engines_log(local_engine: LocalEngine) -> None:
    canary = f"canary {secrets.token_hex(8)}"
    await _usage(local_engine.client(), FJELLVIK, _namespace(), _job(canary))
    assert canary not in local_engine.log.read_text()


async def test_a_worker_whose_plugin_is_not_loaded_does_not_start(
    tiny_model: Path, tmp_path: Path
) -> None:
    launched = launch(worker_of(Settings(), tiny_model), tmp_path, signer_for_tests().trust())
    # SGLang's own switch: plugins not in the list are not loaded.
    env = dict(launched.command.env) | {"SGLANG_PLUGINS": "none"}
    command = Command(launched.command.argv, env)
    process = await GuardedProcess.start(command, log=tmp_path / "log", grace=0.5)
    async with asyncio.timeout(300):
        assert await process.wait() == 78
    assert "hooks are not in force" in (tmp_path / "log").read_text()


async def test_a_killed_worker_is_started_again_and_probed_again_and_has_what_is_public_again(
    local_engine: LocalEngine, tiny_model: Path, tmp_path: Path
) -> None:
    database = await fresh_database(tmp_path / "bulkhead.db")
    tokens = TokenizerCounter(tiny_model)
    public = PublicPrefixes(PublicPrefixRecords(database), local_engine.client, lambda: tokens)
    assert (await public.publish(OPERATOR, "house", SharedText())).state == "published"
    async with keeping(public, OPERATOR, every=0.2):
        _kill_scheduler(local_engine.client())
        async with asyncio.timeout(400):
            while local_engine.ready:
                await asyncio.sleep(0.1)
            with pytest.raises(EngineUnavailableError):
                local_engine.client()
            await local_engine.until_ready()
        engine = local_engine.client()
        assert (await _usage(engine, FJELLVIK, _namespace(), _job("Hello"))).completion == 2
        async with asyncio.timeout(10):
            while (await public.list(OPERATOR))[0][0].state != "published":
                await asyncio.sleep(0.1)
    await public.withdraw(OPERATOR, "house", now=True)
    await database.close()


def _kill_scheduler(client: EngineClient) -> None:
    port = client.url.rsplit(":", 1)[1]
    (server,) = [
        c.pid
        for c in psutil.net_connections("tcp")
        if c.laddr.port == int(port) and c.status == "LISTEN"
    ]
    assert server is not None
    os.kill(server, signal.SIGKILL)
