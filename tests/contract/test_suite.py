"""The suite passes a tight platform, and catches every leaky one."""

from __future__ import annotations

import json
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from evals.contract.checks import Checks, Verdict
from evals.contract.suite import PROBES, judge, run, verdict
from evals.contract.target import Account, MemberAccount, Pair, reached
from serving.cli.main import build
from tests.contract.twin import KEYS, MEMBERS, Twin

LEAKS = (
    "keys: a known id is told apart by the body",
    "keys: a known id is told apart by a header",
    "keys: a known id is told apart by the status",
    "keys: the case is ignored",
    "keys: the secret is not compared",
    "documents: the list is everybody's",
    "documents: ids are global",
    "documents: foreign ones are forbidden, not unknown",
    "documents: foreign ones are unknown in other words",
    "documents: foreign ones are read",
    "documents: all of the same id are deleted",
    "documents: all of the same id are replaced",
    "search: the predicate is missing",
    "search: relevance is checked and the tenant is not",
    "search: the body chooses the tenant",
    "search: the query is a filter language",
    "search: counts hold all ids",
    "search: a filter stands in for the predicate",
    "groups: the search forgets them",
    "groups: a filter stands in for them",
    "groups: they reach other tenants",
    "groups: the chat forgets them",
    "groups: the stream forgets them",
    "groups: a document forgets them",
    "groups: the list forgets them",
    "groups: the export forgets them",
    "groups: their keys write",
    "groups: their keys delete",
    "influence: scores count everybody's documents",
    "influence: the best of all are filtered afterwards",
    "influence: what anybody has is told",
    "chat: answers cite everybody",
    "chat: streams cite everybody",
    "chat: it obeys injected instructions",
    "chat: a code is looked up everywhere",
    "prefix-cache: one tree for all",
    "prefix-cache: one tree for all that is streamed",
    "adapters: the list is everybody's",
    "adapters: the models are everybody's",
    "adapters: foreign ones answer",
    "adapters: a version is looked for in all tenants",
    "adapters: foreign ones are forbidden, not unknown",
    "adapters: foreign ones are unknown in other words",
    "adapters: foreign ones are shown",
    "adapters: anybody deletes",
    "adapters: anybody rolls out",
    "adapters: anybody scores",
    "adapters: anybody ends a rollout",
    "adapters: rollouts are everybody's",
    "adapters: versions share prefixes",
    "adapters: the base model's prefixes are theirs",
    "controls: they are taken",
    "controls: they are taken among the stream's options",
    "controls: a header chooses the search's tenant",
    "controls: a header chooses the chat's tenant",
    "controls: the URL chooses the search's tenant",
    "controls: a header chooses the tenant",
    "controls: the URL chooses the tenant",
    "limits: requests are everybody's",
    "limits: tokens are everybody's",
    "usage: everybody pays",
    "usage: everybody pays the tokens",
    "placeholders: one table for all",
    "placeholders: the table outlives its request",
    "placeholders: tool calls have one table for all",
    "placeholders: tool calls have a table that outlives its request",
    "placeholders: a token opens for anybody",
    "placeholders: a token opens every conversation",
    "placeholders: no token is needed",
    "placeholders: the token is not checked",
    "output: links stay in answers",
    "output: links stay in answers that are streamed",
    "output: links stay in citations",
    "refusals: they quote the body",
)
OUT_OF_ORDER = {
    "no key opens": tuple(PROBES),
    "wrong keys are refused in other words": ("keys",),
    "documents are not kept": (
        "documents",
        "search",
        "groups",
        "influence",
        "chat",
        "controls",
        "output",
    ),
    "documents of one id stay": ("documents", "search", "influence", "chat", "controls", "output"),
    "search finds nothing": ("search", "groups", "influence", "chat", "controls", "output"),
    "the chat is away": (
        "limits",
        "chat",
        "prefix-cache",
        "adapters",
        "controls",
        "usage",
        "placeholders",
        "output",
        "refusals",
    ),
    "cached tokens are not reported": ("prefix-cache", "adapters"),
    "the prefix cache is off": ("prefix-cache", "adapters"),
    "adapters are not kept": ("adapters",),
    "adapters stay": ("adapters",),
    "usage is not counted": ("usage",),
    "limits are not counted": ("limits",),
}


def _reached(twin: Twin) -> AbstractAsyncContextManager[Pair]:
    a, b = (Account(name, key) for key, name in KEYS.items())
    members = [MemberAccount(*whose, key) for key, whose in MEMBERS.items()]
    transport = httpx.ASGITransport(twin.app())
    return reached("http://twin", a, b, transport=transport, members=members)


async def _probed(twin: Twin, *names: str) -> dict[str, Checks]:
    async with _reached(twin) as pair:
        return {name: await judge(PROBES[name], pair) for name in names}


@pytest.mark.parametrize("probe", PROBES)
async def test_a_tight_platform_passes(probe: str) -> None:
    checks = (await _probed(Twin(), probe))[probe]
    assert checks.findings == []
    assert checks.verdict is Verdict.held
    assert checks.controls >= 2
    assert checks.boundaries >= 2


@pytest.mark.parametrize(("leak", "expected"), [("none", "held"), ("one tree for all", "leak")])
async def test_prompts_that_begin_alike_by_chance_change_no_verdict(
    leak: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    alike = ["same", "first", "words"]
    rest = [f"{number}-{word}" for number in range(20) for word in range(57)]

    def prompt() -> str:
        return " ".join(alike + [rest.pop() for _ in range(57)])

    monkeypatch.setattr("evals.contract.probes.prefix_cache.unsent_prompt", prompt)
    checks = (await _probed(Twin(f"prefix-cache: {leak}"), "prefix-cache"))["prefix-cache"]
    assert checks.verdict.value == expected


@pytest.mark.parametrize("leak", LEAKS)
async def test_every_leak_is_caught_by_its_probe(leak: str) -> None:
    probe = leak.split(":")[0]
    assert (await _probed(Twin(leak), probe))[probe].verdict is Verdict.leak


@pytest.mark.parametrize("fault", OUT_OF_ORDER)
async def test_a_boundary_is_not_judged_where_nothing_works(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evals.contract.probes.usage._SECONDS", 0.5)
    probes = OUT_OF_ORDER[fault]
    results = await _probed(Twin(fault), *probes)
    assert {name: checks.verdict for name, checks in results.items()} == dict.fromkeys(
        probes, Verdict.unjudged
    )
    assert verdict(results) is Verdict.unjudged


@pytest.mark.parametrize(
    "leak",
    [
        "nothing",
        "chat: answers cite everybody",
        "the chat is away",
        "documents: ids are global",
        "documents: all of the same id are deleted",
        "adapters: foreign ones are shown",
    ],
)
async def test_nothing_that_was_planted_stays(leak: str) -> None:
    twin = Twin(leak)
    async with _reached(twin) as pair:
        await run(pair, lambda name: None)
    assert twin.documents == {}
    assert twin.adapters.versions == {}


async def test_what_cannot_be_removed_is_told_and_the_rest_is_removed() -> None:
    twin = Twin("documents of one id stay")
    found = (await _probed(twin, "search"))["search"].findings
    assert {name.rpartition("-")[2] for _, name in twin.documents} == {"codes"}
    assert all(name in found[-1].seen for _, name in twin.documents)


async def test_a_finding_names_the_request_and_who_sent_it() -> None:
    results = await _probed(Twin("documents: the list is everybody's"), "documents")
    (first, second) = results["documents"].findings
    assert first.request.startswith("birch: GET /v1/documents?after=")
    assert second.request.startswith("acme: GET /v1/documents?after=")


async def test_findings_name_no_key_and_no_secret() -> None:
    results = await _probed(Twin(*LEAKS), *PROBES)
    shown = json.dumps([checks.as_json() for checks in results.values()])
    assert '"leak"' in shown
    assert "QX" not in shown
    assert not any(key in shown for key in KEYS)


async def test_where_no_limits_are_told_the_probe_says_so() -> None:
    checks = (await _probed(Twin("limits are not told"), "limits"))["limits"]
    assert checks.verdict is Verdict.skipped
    assert "x-ratelimit" in checks.as_json()["skipped"]


async def test_a_tenant_that_is_in_use_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evals.contract.probes.limits._STEP", 0)
    twin = Twin()
    for _ in range(100):
        twin._limits.headers("birch")
    (finding,) = (await _probed(twin, "limits"))["limits"].findings
    assert (finding.kind, finding.seen) == (
        Verdict.unjudged,
        "birch is in use: its minute does not become quiet",
    )


async def test_without_a_key_of_a_group_the_probe_says_that_it_was_skipped_and_why() -> None:
    a, b = (Account(name, key) for key, name in KEYS.items())
    async with reached("http://t", a, b, transport=httpx.ASGITransport(Twin().app())) as pair:
        results = {name: await judge(PROBES[name], pair) for name in ("groups", "search")}
    assert results["groups"].verdict is Verdict.skipped
    assert "--member" in results["groups"].as_json()["skipped"]
    assert verdict(results) is Verdict.held


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("no adapters are served", "serves no adapters"),
        ("adapters' shapes are not told", "--adapter"),
    ],
)
async def test_where_adapters_cannot_be_judged_the_probe_says_why(fault: str, reason: str) -> None:
    checks = (await _probed(Twin(fault), "adapters"))["adapters"]
    assert checks.verdict is Verdict.skipped
    assert reason in checks.as_json()["skipped"]


async def test_an_adapter_that_is_given_is_used_where_its_shape_is_not_told() -> None:
    a, b = (Account(name, key) for key, name in KEYS.items())
    transport = httpx.ASGITransport(Twin("adapters' shapes are not told").app())
    adapter = {"adapter_config.json": b"{}", "adapter_model.safetensors": b""}
    async with reached("http://t", a, b, transport=transport, adapter=adapter) as pair:
        assert (await judge(PROBES["adapters"], pair)).verdict is Verdict.held


def test_a_leak_weighs_more_than_what_could_not_be_judged() -> None:
    leak, unjudged = Checks(), Checks()
    leak.boundary("x", False)
    unjudged.control("y", False)
    assert verdict({"a": unjudged, "b": leak}) is Verdict.leak
    assert Checks().verdict is Verdict.unjudged


def test_the_command_judges_nothing_where_nobody_answers(tmp_path: Path) -> None:
    arguments = ["--target", "http://127.0.0.1:9", *_tenants(tmp_path)]
    report = tmp_path / "report.json"
    result = CliRunner().invoke(build("verify"), ["verify", *arguments, "--json", str(report)])
    assert result.exit_code == 2
    assert json.loads(report.read_text())["verdict"] == "unjudged"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--target", "127.0.0.1", "TENANTS"], "a URL is expected"),
        (["--target", "http://t", "--tenant", "a=bk_x_y", "--tenant", "b=@x"], "in the file"),
        (["--target", "http://t", "--tenant", "a=@/none", "--tenant", "b=@/none"], "be read"),
        (["--target", "http://t", "--tenant", "a=@KEY"], "twice"),
        (["--target", "http://t", "TENANTS", "--member", "acme=@KEY"], "TENANT:GROUP"),
        (["--target", "http://t", "TENANTS", "--member", "ash:g=@KEY"], "none of the two"),
        (["--target", "http://t", "--tenant", "a=@KEY", "--tenant", "b=@KEY"], "the same key"),
    ],
)
def test_wrong_arguments_are_told_without_showing_a_key(
    arguments: list[str], reason: str, tmp_path: Path
) -> None:
    key = tmp_path / "key"
    key.write_text("bk_secret_canary\n")
    given: list[str] = []
    for argument in arguments:
        given += (
            _tenants(tmp_path) if argument == "TENANTS" else [argument.replace("KEY", str(key))]
        )
    result = CliRunner(env={"COLUMNS": "300"}).invoke(build("verify"), ["verify", *given])
    assert result.exit_code == 2
    assert reason in result.output
    assert "canary" not in result.output


def _tenants(folder: Path) -> list[str]:
    arguments = []
    for key, name in KEYS.items():
        (folder / name).write_text(f"{key}\n")
        arguments += ["--tenant", f"{name}=@{folder / name}"]
    return arguments
