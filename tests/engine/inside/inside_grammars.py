"""Tool schemas' grammars on SGLang's own manager and XGrammar: each tenant's own, and bounded."""

from __future__ import annotations

import json
import os
import threading
import time
from concurrent.futures import Future
from types import SimpleNamespace
from typing import Any

import pytest

from tests.engine.inside.pools import claims  # first: it prepares the process

from sglang.srt.constrained import grammar_manager as sglang  # isort: skip
from sglang.srt.constrained.base_grammar_backend import InvalidGrammarObject  # isort: skip
from sglang.srt.constrained.xgrammar_backend import XGrammarGrammarBackend  # isort: skip
from sglang.srt.sampling.sampling_params import SamplingParams  # isort: skip
from xgrammar import TokenizerInfo  # isort: skip

from serving.engine_plugin import control, grammars
from serving.engine_plugin.grammars import OwnedText, Shelf, Turns

SCHEMA = json.dumps({"type": "object", "properties": {"discount": {"enum": ["WINTER-7731"]}}})


class Letters:
    """A tokenizer of single bytes."""

    @staticmethod
    def init_xgrammar() -> tuple[TokenizerInfo, None]:
        vocab = [bytes([number]) for number in range(256)] + [b"</s>"]
        return TokenizerInfo(vocab, vocab_size=257, stop_token_ids=[256]), None


class Request(SimpleNamespace):
    """As much of SGLang's as the manager looks at."""

    __hash__ = object.__hash__


def _made(*_: Any) -> XGrammarGrammarBackend:
    return XGrammarGrammarBackend(Letters(), vocab_size=257)


def _manager(backend: Any) -> Any:
    manager = sglang.GrammarManager.__new__(sglang.GrammarManager)
    manager.grammar_backend, manager.grammar_queue = backend, []
    manager._enable_strict_thinking, manager.pp_rank, manager.pp_size = False, 0, 1
    manager.scheduler = SimpleNamespace(
        model_config=SimpleNamespace(),
        waiting_queue=[],
        running_batch=SimpleNamespace(is_empty=lambda: True),
    )
    manager.grammar_sync_size, manager.is_grammar_sync_entry = 1, True
    manager.grammar_pp_sync_work_list = []
    manager.SGLANG_GRAMMAR_POLL_INTERVAL = 0.005
    manager.SGLANG_GRAMMAR_MAX_POLL_ITERATIONS = 2_000
    return manager


@pytest.fixture
def manager() -> Any:
    return _manager(grammars._create(_made))


@pytest.fixture
def stock() -> Any:
    """The leaky twin: SGLang without the plugin."""
    return _manager(_made())


def _ask(manager: Any, account: str, schema: str = SCHEMA, *, stock: bool = False) -> Any:
    """A request of the account's; whether it found a grammar is in `found`."""
    request = Request(
        rid=account,
        sampling_params=SamplingParams(json_schema=schema),
        bulkhead_claims=claims(account),
        origin_input_ids=[1],
        require_reasoning=False,
        finished=lambda: False,
        grammar=None,
        grammar_key=None,
        grammar_wait_ct=0,
        aborted=[],
    )
    request.set_finish_with_abort = request.aborted.append
    process = sglang.GrammarManager.process_req_with_grammar
    waits = process(manager, request) if stock else grammars._process(process, manager, request)
    request.found = not waits
    return request


def _compiled(manager: Any) -> None:
    while manager.grammar_queue:
        manager.get_ready_grammar_requests()


def test_a_tenant_finds_its_own_grammar_again_and_never_another_tenants(manager: Any) -> None:
    assert not _ask(manager, "fjellvik").found
    _compiled(manager)
    assert _ask(manager, "fjellvik").found  # the positive control
    assert not _ask(manager, "voltbay").found


def test_sglang_itself_tells_that_somebody_has_the_same_tool(stock: Any) -> None:
    assert not _ask(stock, "fjellvik", stock=True).found
    _compiled(stock)
    assert _ask(stock, "voltbay", stock=True).found


def _given_up(manager: Any, *, stock: bool) -> Any:
    """One whose grammar did not come in time, as in a crowd."""
    manager.SGLANG_GRAMMAR_MAX_POLL_ITERATIONS = 1
    manager.grammar_backend.executor = SimpleNamespace(submit=lambda *_: Future())
    request = _ask(manager, "fjellvik", stock=stock)
    _compiled(manager)
    return request


def test_what_was_given_up_is_refused_to_nobody_afterwards(manager: Any) -> None:
    given_up = _given_up(manager, stock=False)
    assert given_up.aborted
    assert "WINTER" not in str(given_up.aborted)
    manager.grammar_backend.executor = Turns()
    manager.SGLANG_GRAMMAR_MAX_POLL_ITERATIONS = 2_000
    for account in ("fjellvik", "voltbay"):
        request = _ask(manager, account)
        _compiled(manager)
        assert not request.aborted


def test_sglang_itself_refuses_it_to_everybody_and_says_it_aloud(stock: Any) -> None:
    given_up = _given_up(stock, stock=True)
    assert "WINTER" in str(given_up.aborted)
    assert _ask(stock, "voltbay", stock=True).aborted


def test_what_is_deleted_is_forgotten_and_nobody_elses(manager: Any) -> None:
    for account in ("fjellvik", "voltbay"):
        _ask(manager, account)
    _compiled(manager)
    grammars.forget(SimpleNamespace(grammar_manager=manager), "fjellvik")
    assert not _ask(manager, "fjellvik").found
    assert _ask(manager, "voltbay").found


def test_a_deletion_ends_what_waits_for_its_grammar(manager: Any) -> None:
    manager.grammar_backend.executor = SimpleNamespace(submit=lambda *_: Future())
    mine, theirs = _ask(manager, "fjellvik"), _ask(manager, "voltbay")
    scheduler = SimpleNamespace(
        waiting_queue=[],
        chunked_req=None,
        collect_inflight_reqs=list,
        grammar_manager=manager,
        tree_cache=SimpleNamespace(accounts={}),
        abort_request=manager.abort_requests,
    )
    assert control._purge(scheduler, "fjellvik") == {"held": 1}
    assert mine.aborted
    assert not theirs.aborted


def test_a_request_that_was_never_admitted_has_no_grammar(manager: Any) -> None:
    request = SimpleNamespace(sampling_params=SamplingParams(json_schema=SCHEMA))
    with pytest.raises(AttributeError):
        grammars._process(sglang.GrammarManager.process_req_with_grammar, manager, request)
    with pytest.raises(AttributeError):
        manager.grammar_backend.get_cached_or_future_value(("json", SCHEMA), False)


def test_a_key_shows_nothing_of_its_text() -> None:
    assert "WINTER" not in f"{('json', OwnedText(SCHEMA, 'fjellvik'))} {OwnedText(SCHEMA, 'x')!r}"


def _put(shelf: Shelf, account: str, name: str, size: int) -> tuple[str, OwnedText]:
    key = ("json", OwnedText(name, account))
    compiled = SimpleNamespace(memory_size_bytes=size - len(name))
    shelf[key] = SimpleNamespace(ctx=compiled)
    return key


def test_a_flood_of_one_tenants_grammars_takes_no_others_and_ends_somewhere() -> None:
    shelf = Shelf(of_each=100, of_all=150)
    kept = _put(shelf, "voltbay", "a", 10)
    flood = [_put(shelf, "fjellvik", f"{number}", 10) for number in range(50)]
    assert shelf.get(kept) is not None
    assert [shelf.get(key) is not None for key in flood] == [False] * 40 + [True] * 10
    for account in ("x", "y", "z"):
        for number in range(10):
            _put(shelf, account, f"{number}", 10)
    assert sum(map(grammars._bytes, shelf._kept.values())) <= 150
    assert shelf.get(kept) is not None
    too_large = _put(shelf, "voltbay", "b", 101)
    assert shelf.get(too_large) is None


def test_what_failed_is_not_kept() -> None:
    shelf, key = Shelf(), ("json", OwnedText(SCHEMA, "fjellvik"))
    shelf[key] = InvalidGrammarObject("timed out")
    assert shelf.get(key) is None


class Compiling:
    """Calls that go on until they are let go; who began, in which order."""

    def __init__(self, threads: int) -> None:
        self.turns, self.begun = Turns(threads), list[str]()
        self._go = threading.Semaphore(0)

    def submit(self, account: str) -> Future[Any]:
        return self.turns.submit(self._compiled, ("json", OwnedText(SCHEMA, account)))

    def until_begun(self, count: int) -> list[str]:
        end = time.monotonic() + 10
        while len(self.begun) < count and time.monotonic() < end:
            time.sleep(0.001)
        return self.begun

    def let_go(self, count: int = 1) -> None:
        self._go.release(count)

    def _compiled(self, key: Any) -> str:
        self.begun.append(key[1].account)
        assert self._go.acquire(timeout=10)
        return str(key[1].account)


def test_tenants_take_turns() -> None:
    compiling = Compiling(threads=1)
    flood = [compiling.submit("flood") for _ in range(5)]
    assert compiling.until_begun(1) == ["flood"]
    quiet = compiling.submit("quiet")
    assert flood[4].cancel()
    compiling.let_go(9)
    assert (quiet.result(10), flood[3].result(10)) == ("quiet", "flood")
    assert compiling.begun == ["flood", "quiet", "flood", "flood", "flood"]


def test_a_tenant_has_one_thread_at_a_time_and_leaves_the_others() -> None:
    compiling = Compiling(threads=3)
    flood = [compiling.submit("flood") for _ in range(3)]
    assert compiling.until_begun(1) == ["flood"]
    quiet = [compiling.submit(name) for name in ("quiet", "calm")]
    assert sorted(compiling.until_begun(3)) == ["calm", "flood", "quiet"]
    compiling.let_go(9)
    assert [one.result(10) for one in (*quiet, *flood)] == ["quiet", "calm", *["flood"] * 3]


def test_who_compiles_stands_behind_the_scheduler() -> None:
    def niceness(key: Any) -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before = os.getpriority(os.PRIO_PROCESS, 0)
    key = ("json", OwnedText(SCHEMA, "fjellvik"))
    assert Turns().submit(niceness, key).result(10) == grammars._NICENESS
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == before < grammars._NICENESS


def test_a_failure_is_told_and_the_next_one_is_made() -> None:
    turns, key = Turns(), ("json", OwnedText(SCHEMA, "fjellvik"))
    failed = turns.submit(lambda key: json.loads("{"), key)
    with pytest.raises(ValueError, match="Expecting"):
        failed.result(10)
    assert turns.submit(lambda key: 1, key).result(10) == 1


def test_a_step_of_others_waits_for_no_grammar(manager: Any) -> None:
    def patience(manager: Any) -> float:
        return float(manager.SGLANG_GRAMMAR_POLL_INTERVAL)

    assert grammars._ready(patience, manager) == 0.005  # nobody is there to wait
    manager.scheduler.waiting_queue = ["somebody's"]
    assert grammars._ready(patience, manager) < 0.001
    manager.scheduler.waiting_queue = []
    manager.scheduler.running_batch = SimpleNamespace(is_empty=lambda: False)
    assert grammars._ready(patience, manager) < 0.001
    assert patience(manager) == 0.005
    # And what is ready is still found.
    request = _ask(manager, "fjellvik")
    request.grammar.result(10)
    ready = sglang.GrammarManager.get_ready_grammar_requests
    assert grammars._ready(ready, manager) == [request]


def test_what_xgrammar_keeps_of_its_own_is_off(manager: Any) -> None:
    compiler = manager.grammar_backend.grammar_compiler
    compiler.compile_json_schema(SCHEMA)
    assert compiler.get_cache_size_bytes() == 0
