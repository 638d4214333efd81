"""What all tests share."""

from __future__ import annotations

import gc
from contextlib import ExitStack

import pytest
from hypothesis import settings

from tests.memory import keep_files_in_memory
from tests.once import read_once
from tests.zygote.environment import use_zygotes, zygotes

# The store contract's assertions explain themselves, as those of test modules do.
pytest.register_assert_rewrite("rag.testing")

# Times belong into benchmarks: a busy machine fails no property.
settings.register_profile("bulkhead", deadline=None)
settings.load_profile("bulkhead")

keep_files_in_memory()
read_once()
_WHILE_TESTS_RUN = ExitStack()

# Each takes a minute to make, so the tests that share one run in one process.
_SHARED = ("local_engine", "changed_engine", "gateway")
# The slow ones first, so that no process is left alone with one at the end.
_SLOW = ("tests/gpu/", "tests/engine/", "tests/embedded/", "tests/evals/")
# Their tests share nothing, and some take long.
_APART = ("tests/embedded/test_commands.py",)


def pytest_configure(config: pytest.Config) -> None:
    """Zygotes for all processes of a run; what they start knows them, too."""
    if not hasattr(config, "workerinput"):
        _WHILE_TESTS_RUN.enter_context(zygotes())
    use_zygotes()


def pytest_unconfigure() -> None:
    """Ends the zygotes, and what they forked."""
    _WHILE_TESTS_RUN.close()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Say which tests must run in one process, when there are several."""
    items.sort(key=lambda item: not item.nodeid.startswith(_SLOW))
    for item in items:
        item.add_marker(pytest.mark.xdist_group(_group(item)))


def pytest_collection_finish() -> None:
    """What is loaded by now is not looked through for garbage with each test anew."""
    gc.collect()
    gc.freeze()


def _group(item: pytest.Item) -> str:
    path = item.nodeid.partition("::")[0]
    if path in _APART:
        return item.nodeid
    folder = path.rpartition("/")[0]
    shared = [name for name in _SHARED if name in getattr(item, "fixturenames", ())]
    return f"{folder}/{shared[0]}" if shared else path
