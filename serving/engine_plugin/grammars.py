"""Grammars that hold tool calls to their schemas are the tenant's own, bounded, made in turns.

SGLang compiles a schema once for everybody and keeps it for good, on as many threads as there are
schemas. So whoever finds one compiled learns that somebody else has the same tool; one that was
given up in a crowded minute is refused to all from then on; each new one takes memory that never
comes back; and all of them together take the processor from the scheduler (decision 37).
"""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from serving.engine_plugin import hooks
from serving.engine_plugin.admission import claims_of

_MANAGER = "sglang.srt.constrained.grammar_manager"
_TEXTS = ("json_schema", "regex", "ebnf", "structural_tag")
# Bytes of compiled grammars, of one account and of all.
_OF_EACH, _OF_ALL = 32 << 20, 256 << 20
# How many are compiled at once, of different accounts.
_THREADS = max(2, (os.cpu_count() or 1) // 4)
# How far behind the scheduler: a third of its share of a processor. The last place, 19, is a
# hundredth, and comes too late where all processors are busy.
_NICENESS = 5
_GLANCE_SECONDS = 0.0001

Key = tuple[str, "OwnedText"]


def register() -> None:
    """Register the scheduler's hooks.

    Raises:
        MissingTargetError: this SGLang lacks a place.
    """
    hooks.around(f"{_MANAGER}.create_grammar_backend", ("server_args", "tokenizer"), _create)
    hooks.around(f"{_MANAGER}.GrammarManager.process_req_with_grammar", ("self", "req"), _process)
    hooks.around(f"{_MANAGER}.GrammarManager.get_ready_grammar_requests", ("self",), _ready)


def forget(scheduler: Any, account: str) -> None:
    """Drop what is kept of an account."""
    backend = scheduler.grammar_manager.grammar_backend
    if backend is not None:
        backend.cache.forget(account)


class OwnedText(str):
    """A grammar's text, of an account: the same text of another account is another one.

    It does not show itself, since SGLang logs the keys of what it could not compile.
    """

    __slots__ = ("account",)
    account: str

    def __new__(cls, text: str, account: str) -> OwnedText:
        owned = super().__new__(cls, text)
        owned.account = account
        return owned

    def __eq__(self, other: object) -> bool:
        mine = isinstance(other, OwnedText) and self.account == other.account
        return mine and str.__eq__(self, str(other))

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((self.account, str(self)))

    def __repr__(self) -> str:
        return "<a tenant's grammar>"


class Shelf:
    """Stands where SGLang has a dictionary. Each account's least recently used one goes first."""

    def __init__(self, of_each: int = _OF_EACH, of_all: int = _OF_ALL) -> None:
        self._of_each, self._of_all = of_each, of_all
        self._kept: dict[str, OrderedDict[Key, tuple[Any, int]]] = {}

    def get(self, key: Key) -> Any:
        own = self._kept.get(key[1].account, OrderedDict())
        if key not in own:
            return None
        own.move_to_end(key)
        return own[key][0]

    def __setitem__(self, key: Key, grammar: Any) -> None:
        size = _size_of(key, grammar)
        if size is None:  # it failed, and may not the next time
            return
        own = self._kept.setdefault(key[1].account, OrderedDict())
        own.pop(key, None)
        own[key] = (grammar, size)
        while own and _bytes(own) > self._of_each:
            own.popitem(last=False)
        # Whoever holds most gives up first: a flood takes nothing from those who hold little.
        while sum(map(_bytes, self._kept.values())) > self._of_all:
            max(self._kept.values(), key=_bytes).popitem(last=False)

    def pop(self, key: Key, default: Any = None) -> Any:
        grammar, _ = self._kept.get(key[1].account, OrderedDict()).pop(key, (default, 0))
        return grammar

    def forget(self, account: str) -> None:
        self._kept.pop(account, None)

    def clear(self) -> None:
        self._kept.clear()


class Turns:
    """Stands where SGLang has a pool of threads: one call of an account at a time, accounts in
    turns, and none before the scheduler."""

    def __init__(self, threads: int = _THREADS) -> None:
        self._waiting: OrderedDict[str, deque[tuple[Future[Any], Callable[[], Any]]]] = (
            OrderedDict()
        )
        self._served: set[str] = set()
        self._changed = threading.Condition()
        for _ in range(threads):
            threading.Thread(target=self._work, daemon=True, name="grammars").start()

    def submit(self, call: Callable[..., Any], key: Key, *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        with self._changed:
            own = self._waiting.setdefault(key[1].account, deque())
            own.append((future, lambda: call(key, *arguments)))
            self._changed.notify()
        return future

    def _work(self) -> None:
        # Linux has a priority of each thread.
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        while True:
            account, future, call = self._next()
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(call())
                except BaseException as error:
                    future.set_exception(error)
            with self._changed:
                self._served.remove(account)
                # Whoever came meanwhile has waited longer for a turn.
                if account in self._waiting:
                    self._waiting.move_to_end(account)
                    self._changed.notify()

    def _next(self) -> tuple[str, Future[Any], Callable[[], Any]]:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting.keys() - self._served)
            account = next(name for name in self._waiting if name not in self._served)
            own = self._waiting[account]
            future, call = own.popleft()
            if not own:
                del self._waiting[account]
            self._served.add(account)
            return account, future, call


def _create(original: hooks.Hook, *args: Any, **kwargs: Any) -> Any:
    backend = original(*args, **kwargs)
    if backend is None:
        return None
    backend.executor.shutdown(wait=False)
    backend.executor, backend.cache = Turns(), Shelf()
    # One that watches a model's reasoning has another one inside.
    inner: Any = getattr(backend, "grammar_backend", backend)
    if hasattr(inner, "grammar_compiler"):
        from xgrammar import GrammarCompiler

        # What it keeps of its own would be everybody's, too; and eight threads of each, which is
        # its default, leave the scheduler no processor.
        inner.grammar_compiler = GrammarCompiler(
            inner._tokenizer_info, max_threads=1, cache_enabled=False
        )
    return backend


def _process(original: hooks.Hook, manager: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
    sampling = request.sampling_params
    for name in _TEXTS:
        text = getattr(sampling, name)
        if text is not None:
            said = text if isinstance(text, str) else json.dumps(text)
            setattr(sampling, name, OwnedText(said, claims_of(request).account))
    return original(manager, request, *args, **kwargs)


def _ready(original: hooks.Hook, manager: Any, *args: Any, **kwargs: Any) -> Any:
    """Before each step SGLang waits 5 ms for grammars that somebody waits for: only while there is
    nothing else to do."""
    scheduler, patience = manager.scheduler, manager.SGLANG_GRAMMAR_POLL_INTERVAL
    if scheduler.waiting_queue or not scheduler.running_batch.is_empty():
        manager.SGLANG_GRAMMAR_POLL_INTERVAL = min(_GLANCE_SECONDS, patience)
    try:
        return original(manager, *args, **kwargs)
    finally:
        manager.SGLANG_GRAMMAR_POLL_INTERVAL = patience


def _size_of(key: Key, grammar: Any) -> int | None:
    """In bytes; None of what is no grammar."""
    from sglang.srt.constrained.base_grammar_backend import InvalidGrammarObject

    if isinstance(grammar, InvalidGrammarObject):
        return None
    compiled = getattr(getattr(grammar, "grammar", grammar), "ctx", None)
    return len(key[1]) + int(getattr(compiled, "memory_size_bytes", 0))


def _bytes(own: OrderedDict[Key, tuple[Any, int]]) -> int:
    return sum(size for _, size in own.values())
