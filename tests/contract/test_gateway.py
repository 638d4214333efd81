"""The suite against the real gateway application, in this process."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from evals.contract.checks import Checks, Verdict
from evals.contract.suite import PROBES, run
from evals.contract.target import reached
from tests.contract.gateway import Library, gateway


async def _judged(
    folder: Path,
    library: Library,
    *,
    salted: bool = True,
    one_ledger: bool = False,
    guarded: bool = True,
    one_key: bool = False,
    one_vault: bool = False,
) -> dict[str, Checks]:
    async with gateway(
        folder,
        library=library,
        salted=salted,
        one_ledger=one_ledger,
        guarded=guarded,
        one_key=one_key,
        one_vault=one_vault,
    ) as started:
        app, (a, b) = started
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with reached("http://gateway", a, b, transport=transport) as pair:
            return await run(pair, lambda name: None)


async def test_every_boundary_of_the_gateway_holds_and_nothing_planted_stays(
    tmp_path: Path,
) -> None:
    library = Library()
    results = await _judged(tmp_path, library)
    assert {name: checks.findings for name, checks in results.items()} == {n: [] for n in PROBES}
    # Groups are judged on the real store (test_gateway_groups), adapters on a real registry
    # (test_gateway_adapters).
    assert results.pop("groups").verdict is Verdict.skipped
    assert results.pop("adapters").verdict is Verdict.skipped
    assert {checks.verdict for checks in results.values()} == {Verdict.held}
    assert library.documents == {}
    assert results["placeholders"].boundaries == 8 + 8 + 12


async def test_a_store_that_leaks_behind_the_gateway_is_caught(tmp_path: Path) -> None:
    library = Library(leaky=True)
    results = await _judged(tmp_path, library)
    # One tenant finds, and so is influenced by, what another has.
    assert _leaks(results) == {"search", "influence"}
    # The prompt refuses a foreign passage: no answer, so nothing is known of chats.
    assert results["chat"].verdict is Verdict.unjudged
    assert library.documents == {}


async def test_an_engine_that_ignores_the_namespace_is_caught(tmp_path: Path) -> None:
    assert _leaks(await _judged(tmp_path, Library(), salted=False)) == {"prefix-cache"}


async def test_a_ledger_that_mixes_up_accounts_is_caught(tmp_path: Path) -> None:
    assert _leaks(await _judged(tmp_path, Library(), one_ledger=True)) == {"usage"}


async def test_an_answer_that_nobody_guards_is_caught(tmp_path: Path) -> None:
    assert _leaks(await _judged(tmp_path, Library(), guarded=False)) == {"output"}


async def test_conversation_tokens_under_one_key_for_all_are_caught(tmp_path: Path) -> None:
    assert _leaks(await _judged(tmp_path, Library(), one_key=True)) == {"placeholders"}


async def test_tool_calls_that_are_restored_from_one_table_for_all_are_caught(
    tmp_path: Path,
) -> None:
    assert _leaks(await _judged(tmp_path, Library(), one_vault=True)) == {"placeholders"}


_FORCED = {"type": "function", "function": {"name": "open"}}


async def _called(folder: Path, *, guarded: bool, stream: bool) -> str:
    """The arguments of a call in which the engine writes a link, as a poisoned document asks."""
    link = {"type": "string", "enum": ["https://collect.example/?q=secret"]}
    parameters = {"type": "object", "properties": {"url": link}}
    tool = {"type": "function", "function": {"name": "open", "parameters": parameters}}
    body = {"model": "base", "messages": [{"role": "user", "content": "Hello"}], "stream": stream}
    async with gateway(folder, library=Library(), guarded=guarded) as (app, (account, _)):
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://g") as client:
            reply = await client.post(
                "/v1/chat/completions",
                json=body | {"tools": [tool], "tool_choice": _FORCED},
                headers={"Authorization": f"Bearer {account.key}"},
            )
    lines = [line[6:] for line in reply.text.splitlines() if line.startswith("data: {")]
    choices = [json.loads(line)["choices"][0] for line in (lines if stream else [reply.text])]
    said = [choice["delta" if stream else "message"] for choice in choices]
    calls = [call for one in said for call in one.get("tool_calls", ())]
    return "".join(call["function"]["arguments"] for call in calls)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_link_leaves_in_no_tool_call_and_one_that_nobody_guards_is_seen(
    tmp_path: Path, stream: bool
) -> None:
    (tmp_path / "leaky").mkdir()
    assert await _called(tmp_path, guarded=True, stream=stream) == '{"url":"[link removed]"}'
    leaky = await _called(tmp_path / "leaky", guarded=False, stream=stream)
    assert "collect.example" in leaky


def _leaks(results: dict[str, Checks]) -> set[str]:
    return {name for name, checks in results.items() if checks.verdict is Verdict.leak}
