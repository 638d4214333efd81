"""mypy rejects code that crosses tenants, line by line, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mypy import api

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PROGRAMS = ("accepted.py", "rejected.py")


@pytest.fixture(scope="module")
def errors() -> dict[str, set[tuple[int, str]]]:
    """Of each program, line and code. One run, which finds what `make types` has checked before."""
    paths = [str(HERE / name) for name in PROGRAMS]
    out, problem, _ = api.run(["--config-file", str(ROOT / "pyproject.toml"), *paths])
    assert not problem
    return {
        name: {
            (int(line), code)
            for line, code in re.findall(rf"{name}:(\d+): error: .*\[([a-z-]+)\]", out)
        }
        for name in PROGRAMS
    }


def test_crossing_tenants_does_not_type_check(errors: dict[str, set[tuple[int, str]]]) -> None:
    lines = (HERE / "rejected.py").read_text().splitlines()
    expected = {
        (number, match[1])
        for number, line in enumerate(lines, 1)
        if (match := re.search(r"# expect: ([a-z-]+)", line))
    }
    assert expected
    rejected = errors["rejected.py"]
    assert {line for line, _ in rejected} == {line for line, _ in expected}
    assert expected <= rejected


def test_the_bound_call_type_checks(errors: dict[str, set[tuple[int, str]]]) -> None:
    assert errors["accepted.py"] == set()
