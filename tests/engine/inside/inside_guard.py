"""Another SGLang than the one that the hooks are written for: the engine's process ends at once.

Each registration runs in a fork, so that this process stays without hooks.
"""

from __future__ import annotations

import inspect
import json
import os
import pkgutil
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.engine.inside.pools import kv_pool  # first: it prepares the process

import sglang  # isort: skip
from sglang.srt.plugins.hook_registry import HookRegistry  # isort: skip

from serving.engine_plugin import attestation, hooks, identity
from serving.engine_plugin.places import HOOKED
from serving.engine_plugin.register import register

assert kv_pool
_BROKE = 99


@pytest.fixture(autouse=True)
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This process is a worker's, and not on a CPU, whose hooks are not listed."""
    for name in (identity._ID, identity._OWN, identity._TRUST):
        monkeypatch.setenv(name, "")
    monkeypatch.delenv("BULKHEAD_ENGINE_DEVICE", raising=False)
    monkeypatch.setattr(identity, "_identity", None)
    identity.become(str(tmp_path / "trust.json"))


def _registered(change: Callable[[], None] = lambda: None) -> tuple[int, str]:
    """Exit status and last words of a process that registers the plugin after `change`."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.close(reading)
        _register(change, writing)
    os.close(writing)
    with os.fdopen(reading) as words:
        said = words.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), said


def _register(change: Callable[[], None], writing: int) -> NoReturn:
    sys.stderr = os.fdopen(writing, "w")
    status = _BROKE
    try:
        change()
        register()
        HookRegistry.apply_hooks()
        hooks.require_in_force()
        print(json.dumps(sorted(hooks.in_force())), file=sys.stderr)
        status = 0
    except BaseException:
        traceback.print_exc(file=sys.stderr)
    finally:
        sys.stderr.flush()
        os._exit(status)


def _place(target: str) -> tuple[Any, str]:
    owner, _, name = target.rpartition(".")
    return pkgutil.resolve_name(owner), name


def test_this_sglang_gets_exactly_the_hooks_that_a_gateway_asks_for() -> None:
    status, said = _registered()
    assert (status, set(json.loads(said.splitlines()[-1]))) == (0, HOOKED), said


@pytest.mark.parametrize("version", ["0.5.22", "0.5.24", "0.5.23.post1", "0.6.0", ""])
def test_another_version_of_sglang_does_not_serve(version: str) -> None:
    def change() -> None:
        sglang.__version__ = version

    status, said = _registered(change)
    assert status == 78
    assert f"MissingTargetError: SGLang is {version}, not 0.5.23" in said
    assert "this engine will not serve" in said


def test_the_version_is_checked_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    attestation.register()
    monkeypatch.setattr(sglang, "__version__", "0.5.24")
    with pytest.raises(hooks.MissingTargetError):
        attestation.register()


@pytest.mark.parametrize("target", sorted(HOOKED))
def test_a_place_that_is_missing_or_takes_something_else_ends_the_process(target: str) -> None:
    owner, name = _place(target)
    before = inspect.signature(getattr(owner, name)).parameters
    assert before, "a function without parameters could change them unseen"

    def renamed() -> None:
        function = getattr(owner, name)
        setattr(owner, name, None)  # also where a base class has it
        setattr(owner, f"{name}_v2", function)

    def changed() -> None:
        setattr(owner, name, lambda renamed, *args, **kwargs: None)

    for change, words in ((renamed, "has no"), (changed, "takes")):
        status, said = _registered(change)
        assert status == 78, said
        assert f"{target} takes" in said if words == "takes" else f"has no {target}" in said


def test_a_hook_that_sglang_leaves_out_ends_the_process() -> None:
    left = "sglang.srt.managers.scheduler.Scheduler.handle_generate_request"

    def change() -> None:
        apply = HookRegistry._apply_target.__func__

        def forgetful(cls: Any, target: str, registered: Any) -> None:
            if target == left:
                raise RuntimeError("SGLang logs this and goes on")
            apply(cls, target, registered)

        HookRegistry._apply_target = classmethod(forgetful)

    status, said = _registered(change)
    assert status == 78
    assert f"hooks are not in force: {left}" in said


def test_a_process_that_nobody_said_whom_to_trust_does_not_serve(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(identity, "_identity", None)
    monkeypatch.delenv(identity._OWN)
    assert _registered()[0] == 78


def test_a_missing_place_is_told_by_its_name() -> None:
    for target in ("sglang.srt.no_such_module.f", "sglang.srt.managers.scheduler.Scheduler.gone"):
        with pytest.raises(hooks.MissingTargetError, match=target.rpartition(".")[2]):
            hooks.around(target, ("self",), print)
    assert not hooks._targets
