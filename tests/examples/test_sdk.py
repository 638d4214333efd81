"""The SDK's examples, and the README's own snippets, run as they stand."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from evals.performance.deployment import Deployment
from tests.embedded.forks import deployed_forked, script
from tests.sdk.platforms import gateway

ROOT = Path(__file__).parents[2]


def _run(name: str, *arguments: str, **environment: str) -> str:
    done = script(ROOT / "examples" / "sdk" / name, arguments, os.environ | environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_two_tenants_of_one_application_answer_from_their_own_documents(tmp_path: Path) -> None:
    """As a reader runs it; the others are forks of what has the libraries loaded."""
    command = [sys.executable, "-W", "error::UserWarning", "examples/sdk/two_tenants.py"]
    done = subprocess.run(
        [*command, str(tmp_path / "shop")], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert "fjellvik ['Returns within 30 days.']" in said
    assert "voltbay ['Returns within 14 days.']" in said
    assert "the clerk sees ['returns']" in said
    assert "refused: invalid_credential" in said


def test_an_agent_that_names_another_tenant_gets_its_own(tmp_path: Path) -> None:
    said = _run("agent.py", str(tmp_path / "shop")).splitlines()
    assert "token-1 ['Returns within 30 days']" in said
    assert "token-2 ['Returns within 14 days']" in said


def test_a_model_is_sent_placeholders_and_the_customer_reads_values(tmp_path: Path) -> None:
    said = _run("masked.py", str(tmp_path / "shop")).splitlines()
    assert said == [
        "alone: Write to <EMAIL_ADDRESS_1>, please. -> I wrote to ada.lind@example.com.",
        "the model was sent: The repair of the tent was agreed with <PERSON_1>, <EMAIL_ADDRESS_1>.",
        "the customer reads: The repair of the tent was agreed with Maria Lopez, "
        "maria.lopez@example.com.",
    ]


def test_an_application_over_http_ingests_filters_and_asks(tmp_path: Path) -> None:
    with gateway(tmp_path) as (url, keys):
        said = _run("over_http.py", url, BULKHEAD_API_KEY=keys["acme"]).splitlines()
    assert "lamps Lamps can be returned within 40 days." in said
    assert "2 sources in the chat" in said
    assert not any("lampen" in line for line in said)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A gateway process with a stub engine."""
    with deployed_forked(tmp_path_factory.mktemp("deployed"), {"MASKING": "off"}) as started:
        yield started


def _snippets() -> list[str]:
    found = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert found
    return found


@pytest.mark.parametrize("snippet", _snippets())
def test_the_readmes_snippets_run(
    snippet: str, deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = deployment.gateway
    tenant = {"id": "bench", "api_key": target.key, "tier": "enterprise"}
    (tmp_path / ".bulkhead").mkdir()
    demo = {"base_url": target.url, "tenants": [tenant]}
    (tmp_path / ".bulkhead" / "demo.json").write_text(json.dumps(demo))
    # What the text around the snippets leaves to the reader.
    own = (
        "import os\nfrom llama_index.core.llms import MockLLM\n"
        "api_key, your_llm = os.environ['KEY'], MockLLM()\n"
    )
    program = tmp_path / "snippet.py"
    program.write_text(own + snippet.replace("http://127.0.0.1:8080", target.url))
    monkeypatch.chdir(tmp_path)
    done = script(program, [], os.environ | {"KEY": target.key})
    assert done.returncode == 0, done.stderr
