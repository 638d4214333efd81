"""Hooks that must hold. SGLang only logs a hook whose target is missing, and goes on without it.

So each target is looked up and its parameters compared before it is hooked, and looked at again
when SGLang has applied all hooks: an engine that lacks one must not serve.
"""

from __future__ import annotations

import inspect
import os
import pkgutil
import sys
import traceback
from collections.abc import Callable
from typing import Any, NoReturn

# EX_CONFIG of sysexits.h: the supervisor's log shows that it was the configuration.
_REFUSED = 78
_targets: list[str] = []

Hook = Callable[..., Any]


class MissingTargetError(RuntimeError):
    """This SGLang is not the one that the plugin was written for."""


def around(target: str, parameters: tuple[str, ...], hook: Hook) -> None:
    """Call `hook(original, ...)` in the place of `target`, whose first parameters must be these.

    Raises:
        MissingTargetError: SGLang has no such function, or its parameters are others.
    """
    from sglang.srt.plugins.hook_registry import HookRegistry, HookType

    expect(target, parameters)
    HookRegistry.register(target, hook, HookType.AROUND)
    _targets.append(target)


def expect(target: str, parameters: tuple[str, ...]) -> None:
    """Refuse an SGLang in which what the plugin calls is not there, or takes something else first.

    Raises:
        MissingTargetError: that is so.
    """
    try:
        function = pkgutil.resolve_name(target)
        found = tuple(inspect.signature(function).parameters)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise MissingTargetError(f"SGLang has no {target}") from error
    if found[: len(parameters)] != parameters:
        raise MissingTargetError(f"SGLang's {target} takes {found}, not {parameters}")


def in_force() -> list[str]:
    """The hooked targets that really call their hook now."""
    return [target for target in _targets if _is_wrapped(target)]


def require_in_force() -> None:
    """End the process if SGLang left out a hook."""
    lacking = sorted(set(_targets) - set(in_force()))
    if lacking or not _targets:
        refuse_to_serve(f"hooks are not in force: {', '.join(lacking) or 'none was registered'}")


def refuse_to_serve(reason: str = "") -> NoReturn:
    """End this process at once; the exception being handled, if any, is shown."""
    if sys.exc_info()[0] is not None:
        traceback.print_exc(file=sys.stderr)
    print(f"bulkhead: {reason or 'the plugin failed'}; this engine will not serve", file=sys.stderr)
    sys.stderr.flush()
    os._exit(_REFUSED)


def _is_wrapped(target: str) -> bool:
    return hasattr(pkgutil.resolve_name(target), "__wrapped__")
