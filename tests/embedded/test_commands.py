"""The command line: the same with a gateway running and without one."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import httpx
import psutil
import pytest

from tests.embedded.conftest import Gateway, gateway_in


@pytest.fixture(params=["running", "none"])
def platform(request: pytest.FixtureRequest, quick_gateway: Gateway) -> Gateway:
    if request.param == "running":
        quick_gateway.start()
        quick_gateway.until("/healthz")
    return quick_gateway


def test_tenants_keys_and_documents_by_command(platform: Gateway, tmp_path: Path) -> None:
    folder = tmp_path / "documents"
    (folder / "deep").mkdir(parents=True)
    (folder / "returns.md").write_text("# Returns\n\nYou have 30 days.")
    (folder / "deep" / "rates.csv").write_text("country,rate\nNorway,79\n")
    (folder / "empty.md").write_text("  ")
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 nonsense")
    assert platform.cli("tenant", "add", "acme", "--tier", "business").returncode == 0
    again = platform.forked("tenant", "add", "acme")
    assert again.returncode == 1
    assert again.stderr.count("\n") == 1
    assert "tenant_exists" in again.stderr
    first = platform.forked("ingest", "acme", str(folder))
    assert first.returncode == 1  # two files could not be read
    assert "empty.md" in first.stderr
    assert "broken.pdf" in first.stderr
    assert "2 created" in first.stdout
    (folder / "returns.md").write_text("# Returns\n\nYou have 31 days.")
    second = platform.forked("ingest", "acme", str(folder))
    assert "1 replaced, 1 unchanged" in second.stdout
    exported = platform.forked("export", "acme", str(tmp_path / "out"))
    assert "2 documents" in exported.stdout
    text = tmp_path / "out" / "deep%2Frates.csv.md"
    assert text.read_text() == "# Rates\n\ncountry: Norway; rate: 79\n"
    assert text.stat().st_mode & 0o777 == 0o600
    assert "not empty" in platform.forked("export", "acme", str(tmp_path / "out")).stderr
    assert "embedding_not_found" in platform.forked("reembed", "os:getcwd").stderr
    assert "with minilm: 2 points" in platform.forked("reembed", "minilm").stdout
    assert "2 unchanged" in platform.forked("ingest", "acme", str(folder)).stdout
    issued = platform.forked("key", "issue", "acme")
    key = issued.stdout.strip()
    assert key.startswith("bk_")
    assert key not in issued.stderr
    assert platform.forked("key", "revoke", key.split("_")[1]).returncode == 0
    _limits_are_set_and_reset(platform)
    assert platform.forked("tenant", "suspend", "acme").returncode == 0
    refused = platform.forked("ingest", "acme", str(folder))
    assert refused.returncode == 1
    assert "tenant_suspended" in refused.stderr
    assert "suspended" in platform.forked("tenant", "list").stdout
    assert platform.forked("usage").returncode == 0
    deleted = platform.forked("tenant", "delete", "acme", "--yes")
    if platform.process is not None:
        # Its engine is elsewhere and does not say that it holds nothing of the tenant any more:
        # the deletion is not done, and the tenant stays shut out until it is.
        assert "engine_unavailable" in deleted.stderr
        assert "deleting" in platform.forked("tenant", "list").stdout
        platform.stop(signal.SIGTERM)
        deleted = platform.forked("tenant", "delete", "acme", "--yes")
        assert "tenant_not_found" in deleted.stderr  # finished as the data was opened
    else:
        assert "deleted (2 documents" in deleted.stdout
    assert "acme" not in platform.forked("tenant", "list").stdout
    assert "tenant_exists" in platform.forked("tenant", "add", "acme").stderr
    assert "tenant_not_found" in platform.forked("tenant", "delete", "acme", "--yes").stderr


def _limits_are_set_and_reset(platform: Gateway) -> None:
    limited = platform.forked("tenant", "limit", "acme", "--requests-per-minute", "7")
    assert "acme: requests per minute: 7\n" in limited.stdout
    for wrong in ([], ["--tokens-per-month", "many"], ["--reset", "--tokens-per-month", "9"]):
        assert platform.forked("tenant", "limit", "acme", *wrong).returncode == 2
    reset = platform.forked("tenant", "limit", "acme", "--reset")
    assert "acme: requests per minute: 3,000\n" in reset.stdout


def test_a_tenant_is_exported_and_restored_by_command(platform: Gateway, tmp_path: Path) -> None:
    document, archive = tmp_path / "returns.md", tmp_path / "acme.archive"
    document.write_text("# Returns\n\nYou have 30 days.")
    for tenant in ("acme", "birch"):
        platform.forked("tenant", "add", tenant)
    platform.forked("ingest", "acme", str(document))
    assert platform.forked("tenant", "export", "acme", str(archive)).returncode == 0
    assert archive.stat().st_mode & 0o777 == 0o600
    refused = platform.forked("tenant", "restore", "birch", str(archive))
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "archive_refused" in refused.stderr
    meant = platform.forked("tenant", "restore", "birch", str(archive), "--archived-as", "acme")
    assert "restored (1 documents, 1 chunks)" in meant.stdout
    unknown = platform.forked("tenant", "export", "nobody", str(tmp_path / "nobody.archive"))
    assert "tenant_not_found" in unknown.stderr
    assert sorted(path.name for path in tmp_path.glob("*archive*")) == ["acme.archive"]
    assert sorted(path.name for path in tmp_path.glob(".*.part")) == []
    promoted = platform.forked("tenant", "promote", "acme")
    assert "placement_unavailable" in promoted.stderr


def test_what_is_shared_with_all_is_told_by_command(quick_gateway: Gateway, tmp_path: Path) -> None:
    """No engine is here: it is kept for one that comes."""
    system, tools = tmp_path / "system.txt", tmp_path / "tools.json"
    system.write_text("Be kind.\n")
    tools.write_text('[{"type": "function", "function": {"name": "find_order"}}]')
    prefix = ("engine", "prefix")
    files = ("--system", str(system), "--tools", str(tools))
    first = quick_gateway.forked(*prefix, "publish", "house", *files)
    assert "house: kept; it is published when an engine is ready" in first.stdout
    assert "waiting" in quick_gateway.forked(*prefix, "list").stdout
    shown = json.loads(quick_gateway.forked(*prefix, "show", "house").stdout)
    assert (shown["system"], shown["tools"][0]["function"]["name"]) == ("Be kind.", "find_order")
    tools.write_text("{}")
    refused = quick_gateway.forked(*prefix, "publish", "house", *files)
    assert refused.returncode != 0
    assert "a JSON list of tools" in refused.stderr
    assert "withdrawn" in quick_gateway.forked(*prefix, "withdraw", "house").stdout
    gone = quick_gateway.forked(*prefix, "show", "house")
    assert (gone.returncode, gone.stderr.count("\n")) == (1, 1)
    assert "public_prefix_not_found" in gone.stderr


def test_a_servers_indexes_are_its_own_affair(quick_gateway: Gateway) -> None:
    quick_gateway.environment["BULKHEAD_QDRANT_URL"] = "http://127.0.0.1:1"
    refused = quick_gateway.forked("optimize")
    assert refused.returncode == 1
    assert "A Qdrant server builds its indexes itself" in refused.stderr


def test_indexes_are_built_while_no_gateway_runs_and_not_beside_one(
    quick_gateway: Gateway, tmp_path: Path
) -> None:
    document = tmp_path / "returns.md"
    document.write_text("# Returns\n\nYou have 30 days.")
    quick_gateway.forked("tenant", "add", "acme")
    quick_gateway.forked("ingest", "acme", str(document))
    assert "optimized: 1 points" in quick_gateway.forked("optimize").stdout
    quick_gateway.start()
    quick_gateway.until("/healthz")
    refused = quick_gateway.forked("optimize")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "Another gateway runs" in refused.stderr


def test_a_second_gateway_on_the_same_folder_is_refused_in_one_line(
    quick_gateway: Gateway,
) -> None:
    quick_gateway.start()
    quick_gateway.until("/healthz")
    second = gateway_in(quick_gateway.data.parent)
    refused = second.cli("serve")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "Another gateway runs" in refused.stderr


def test_a_taken_port_is_one_line_with_the_way_out(quick_gateway: Gateway, tmp_path: Path) -> None:
    quick_gateway.start()
    quick_gateway.until("/healthz")
    elsewhere = gateway_in(tmp_path / "elsewhere")
    elsewhere.environment["BULKHEAD_PORT"] = str(quick_gateway.port)
    refused = elsewhere.cli("serve")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "BULKHEAD_PORT" in refused.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "eighty"),
        ("ENGINE_SLOTS", "0"),
        ("QDRANT_URL", "localhost"),
        ("QDRANT_URL", "http://127.0.0.1:1"),
    ],
)
def test_a_wrong_setting_is_one_line_that_names_it(
    quick_gateway: Gateway, name: str, value: str
) -> None:
    quick_gateway.environment[f"BULKHEAD_{name}"] = value
    refused = quick_gateway.forked("serve")
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert f"BULKHEAD_{name}" in refused.stderr


def _children(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def test_kill_minus_nine_of_the_gateway_leaves_no_process_behind(quick_gateway: Gateway) -> None:
    quick_gateway.start()
    quick_gateway.until("/healthz")
    assert quick_gateway.process is not None
    children = _children(quick_gateway.process.pid)
    assert any("valkey-server" in child.name() for child in children)
    quick_gateway.stop(signal.SIGKILL)
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []


def test_kill_minus_nine_while_documents_come_loses_none_and_halves_none(
    quick_gateway: Gateway,
) -> None:
    text = "\n\n".join(f"## Part {part}\n\n" + f"Sentence {part}. " * 20 for part in range(8))
    acknowledged: dict[str, int] = {}
    quick_gateway.start()
    quick_gateway.until("/healthz")
    quick_gateway.forked("tenant", "add", "acme")
    key = quick_gateway.forked("key", "issue", "acme").stdout.strip()
    headers = {"Authorization": f"Bearer {key}"}
    for round_ in range(3):
        with httpx.Client(base_url=quick_gateway.url, headers=headers, timeout=120) as client:
            acknowledged |= _killed_behind(4 + round_, quick_gateway, client, f"{round_}", text)
        quick_gateway.start()
        quick_gateway.until("/healthz")
        with httpx.Client(base_url=quick_gateway.url, headers=headers, timeout=30) as client:
            listed = {d["id"]: d["chunks"] for d in client.get("/v1/documents").json()["data"]}
            assert acknowledged.keys() <= listed.keys()
            query = {"query": "Sentence", "top_k": 50}
            found = client.post("/v1/search", json=query).json()["data"]
            counts = {d: sum(hit["document_id"] == d for hit in found) for d in listed}
            assert sum(counts.values()) == len(found)
    assert len(acknowledged) == 3 * 3


def _killed_behind(
    writes: int, gateway: Gateway, client: httpx.Client, name: str, text: str
) -> dict[str, int]:
    """Chunks by document, of what was acknowledged. The gateway is killed in the middle of the
    write behind the first `writes`, some of which replace each other: half as long after it was
    sent as the last one took, however quick this machine is."""
    assert gateway.process is not None
    acknowledged, took = {}, 0.0
    for number in range(writes + 1):
        killing = threading.Timer(took / 2, os.kill, (gateway.process.pid, signal.SIGKILL))
        if number == writes:
            killing.start()
        document, begun = f"{name}-{number % 3}.md", time.monotonic()
        body = {"id": document, "title": "t", "text": f"{text}\n\nVersion {number}"}
        try:
            answer = client.post("/v1/documents", json=body)
        except httpx.TransportError:
            assert number == writes
            break
        took = time.monotonic() - begun
        acknowledged[document] = answer.json()["chunks"]
    killing.join()
    gateway.process.wait(120)
    return acknowledged
