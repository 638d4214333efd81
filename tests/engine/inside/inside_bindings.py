"""A hooked function is replaced where SGLang's own search would replace it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import FunctionType, ModuleType

import pytest

from tests.engine.inside.pools import kv_pool  # first: it prepares the process

from sglang.srt.plugins import hook_registry  # isort: skip

from serving.engine_plugin import bindings, hooks
from serving.engine_plugin.bindings import Bindings

assert kv_pool
_SGLANGS = hook_registry._propagate_patch


def _function(module: str = "sglang.srt.somewhere") -> FunctionType:
    def made() -> None: ...

    made.__module__ = module
    return made


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModuleType]:
    def make(name: str, **held: object) -> ModuleType:
        made = ModuleType(name)
        vars(made).update(held)
        monkeypatch.setitem(sys.modules, name, made)
        return made

    return make


@pytest.mark.parametrize("where", ["sglang.srt.somewhere", "elsewhere"])
def test_every_module_that_has_it_gets_the_new_one(
    module: Callable[..., ModuleType], where: str
) -> None:
    old, new, other = _function(where), _function(where), _function(where)
    source = module("sglang_source", f=new, g=old)
    first, second = module("sglang_first", f=old, h=other), module("second", a=old, b=old)
    found = Bindings(_SGLANGS)
    assert found.replace(old, new, source) == 3
    assert (first.f, second.a, second.b, first.h, source.g) == (new, new, new, other, old)
    # And the new one's, where that is replaced in its turn.
    newest = _function(where)
    assert found.replace(new, newest, source) == 3
    assert (first.f, second.a, source.f) == (newest, newest, new)


def test_a_module_that_came_later_is_looked_through(module: Callable[..., ModuleType]) -> None:
    old, new, unused = _function(), _function(), _function()
    found = Bindings(_SGLANGS)
    assert found.replace(unused, new, None) == 0
    late = module("sglang_late", f=old)
    assert found.replace(old, new, None) == 1
    assert late.f is new


def test_a_binding_that_is_another_by_now_stays(module: Callable[..., ModuleType]) -> None:
    old, new, unused = _function(), _function(), _function()
    changed = module("sglang_changed", f=old)
    found = Bindings(_SGLANGS)
    found.replace(unused, new, None)
    changed.f = unused
    assert found.replace(old, new, None) == 0
    assert changed.f is unused


def test_another_sglangs_search_is_not_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hook_registry, "_propagate_patch", lambda original, wrapped: 0)
    with pytest.raises(hooks.MissingTargetError):
        bindings.register()


def test_it_is_searched_as_registered() -> None:
    """In a fork: the process stays as it is."""
    child = os.fork()
    if not child:
        bindings.register()
        os._exit(0 if hook_registry._propagate_patch is not _SGLANGS else 1)
    assert os.waitpid(child, 0)[1] == 0
