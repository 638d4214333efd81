"""The suite against the real gateway application, in this process."""

from __future__ import annotations

from pathlib import Path

import httpx

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


def _leaks(results: dict[str, Checks]) -> set[str]:
    return {name for name, checks in results.items() if checks.verdict is Verdict.leak}
