"""`-m tests.engine.inside.run PYTEST_FOLDER GROUP...`: groups of test files, each in a fork.

SGLang's import takes most of the time, so it is done once. What a group does to SGLang's globals
(hooks, published settings) ends with its fork. A group is a pattern of files beside this one.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

_HERE = Path(__file__).parent
_OPTIONS = ("-q", "-p", "no:cacheprovider", "-o", "filterwarnings=default", "-o", "addopts=")


def main() -> int:
    """How many groups failed."""
    ours, *groups = sys.argv[1:]
    sys.path[:0] = [str(_HERE.parents[2])]
    sys.path.append(ours)  # behind the engine's own packages
    import tests.engine.inside.pools  # noqa: F401

    return sum(_failed_in_a_fork(group) for group in groups)


def _failed_in_a_fork(group: str) -> bool:
    files = sorted(str(path) for path in _HERE.glob(group))
    if not files:
        return True
    child = os.fork()
    if not child:
        import pytest

        code = pytest.main([*_OPTIONS, "--import-mode=importlib", *files])
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(code))
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) != 0


if __name__ == "__main__":
    sys.exit(main())
