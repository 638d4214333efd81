"""mypy rejects code that crosses tenants, line by line, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from mypy import api

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


def _errors(name: str) -> set[tuple[int, str]]:
    path = HERE / name
    arguments = ["--strict", "--config-file", "", "--follow-imports=silent", str(path)]
    out, problem, _ = api.run(arguments)
    assert not problem
    found = re.findall(rf"{name}:(\d+): error: .*\[([a-z-]+)\]", out)
    return {(int(line), code) for line, code in found}


def test_crossing_tenants_does_not_type_check() -> None:
    lines = (HERE / "rejected.py").read_text().splitlines()
    expected = {
        (number, match[1])
        for number, line in enumerate(lines, 1)
        if (match := re.search(r"# expect: ([a-z-]+)", line))
    }
    assert expected
    rejected = _errors("rejected.py")
    assert {line for line, _ in rejected} == {line for line, _ in expected}
    assert expected <= rejected


def test_the_bound_call_type_checks() -> None:
    assert _errors("accepted.py") == set()
