"""`bulkhead verify` against the whole platform, as CI runs it against any deployment."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evals.contract.suite import PROBES
from tests.embedded.conftest import Gateway

pytestmark = pytest.mark.engine


def test_every_boundary_of_the_real_platform_holds(gateway: Gateway, tmp_path: Path) -> None:
    tenants = []
    for name in ("fjellvik", "voltbay"):
        file = tmp_path / name
        file.write_text(gateway.key(name))
        tenants += ["--tenant", f"{name}=@{file}"]
        member = tmp_path / f"{name}-support"
        member.write_text(gateway.cli("key", "issue", name, "--group", "support").stdout)
        tenants += ["--member", f"{name}:support=@{member}"]
    report = tmp_path / "report.json"
    before = gateway.cli("usage").stdout
    ran = gateway.cli("verify", "--target", gateway.url, *tenants, "--json", str(report))
    assert ran.returncode == 0, ran.stdout + ran.stderr
    content = json.loads(report.read_text())
    assert content["verdict"] == "held"
    skipped = {name for name, probe in content["probes"].items() if probe["verdict"] == "skipped"}
    assert skipped <= {"adapters"}
    assert {name: probe["findings"] for name, probe in content["probes"].items()} == {
        name: [] for name in PROBES
    }
    after = gateway.cli("usage").stdout
    assert after != before
    assert "%" in next(line for line in after.splitlines() if "fjellvik" in line)
    assert "verify-" not in gateway.client("fjellvik").get("/documents", cast_to=str)
