"""Where SGLang's modules have imported each other's functions by name.

A hooked function is replaced there too, and SGLang looks through all modules for that, once a hook:
forty times through 7,000 modules, a tenth of a worker's start. Here they are looked through once,
and once more when there are others.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable
from importlib import import_module
from types import FunctionType, ModuleType
from typing import Any

from serving.engine_plugin import hooks

_REGISTRY = "sglang.srt.plugins.hook_registry"
_OF = "sglang."

Replace = Callable[[Any, Any, Any], int]


def register() -> None:
    """Have SGLang's registry look here.

    Raises:
        MissingTargetError: this SGLang lacks the place.
    """
    place = "_propagate_patch"
    hooks.require(f"{_REGISTRY}.{place}", ("original", "wrapped", "source_module"))
    registry = import_module(_REGISTRY)
    setattr(registry, place, Bindings(getattr(registry, place)).replace)


class Bindings:
    """`otherwise`: SGLang's own search, for what is not one of its functions."""

    def __init__(self, otherwise: Replace) -> None:
        self._otherwise = otherwise
        self._modules = 0
        self._of: defaultdict[int, list[tuple[ModuleType, str]]] = defaultdict(list)

    def replace(self, original: Any, wrapped: Any, source_module: Any) -> int:
        """Put `wrapped` wherever a module but its own has `original`; says in how many places."""
        if not _is_sglangs(original):
            return self._otherwise(original, wrapped, source_module)
        if len(sys.modules) != self._modules:
            self._read()
        found = self._of.pop(id(original), [])
        self._of[id(wrapped)] += found
        stale = [
            (module, name)
            for module, name in found
            if module is not source_module and vars(module).get(name) is original
        ]
        for module, name in stale:
            setattr(module, name, wrapped)
        return len(stale)

    def _read(self) -> None:
        self._of.clear()
        modules = list(sys.modules.values())
        self._modules = len(modules)
        for module in modules:
            if isinstance(module, ModuleType):
                for name, value in list(vars(module).items()):
                    if _is_sglangs(value):
                        self._of[id(value)].append((module, name))


def _is_sglangs(value: Any) -> bool:
    # By its type: some modules hold what pretends to be everything.
    return type(value) is FunctionType and (value.__module__ or "").startswith(_OF)
