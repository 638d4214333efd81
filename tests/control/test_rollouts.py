"""Rollouts on a real database: states, audit, two gateways at once, kills at every statement."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys

import pytest
from sqlalchemy import true

from isolation.access import Access
from isolation.errors import CrossTenantError, RestrictedKeyError
from isolation.testing.contexts import tenant_for_tests
from serving.adapters.errors import AdapterNotFoundError
from serving.adapters.names import Reference
from serving.control import rollouts as index_module
from serving.control.database import Database
from serving.control.tables import RolloutRow
from serving.control.tenants import TenantRegistry
from serving.rollout import gates
from serving.rollout.assignment import Arm
from serving.rollout.errors import (
    RolloutNotFoundError,
    RolloutRefusedError,
    RolloutRunsError,
    RolloutStateError,
)
from serving.rollout.figures import Figures
from serving.rollout.gates import GateResult
from serving.rollout.histogram import Histogram
from serving.rollout.ledger import FigureLedger
from serving.rollout.records import OPEN, Rollout, State
from tests.control.rollouts import (
    BAD,
    FJELLVIK,
    GOOD,
    HALTING,
    LATE,
    LEAK,
    OPERATOR,
    POLICY,
    VOLTBAY,
    Shop,
    arm,
    at_statement,
    go_on,
    prepared,
)


@pytest.fixture
async def shop(database: Database) -> Shop:
    return await prepared(database)


async def _the_trail_is_whole(shop: Shop, ends: int = 1) -> None:
    """Each step begins where the one before it ended, the last one where the rollout is."""
    index = shop.index.of(FJELLVIK)
    rollout = (await index.list("support"))[-1]
    steps = await index.steps(rollout)
    assert [step.revision for step in steps] == list(range(1, rollout.revision + 1))
    states = [None, *(step.after for step in steps)]
    assert [step.before for step in steps] == states[:-1]
    assert states[-1] is rollout.state
    assert sum(step.before in OPEN and step.after not in OPEN for step in steps) == ends


@pytest.mark.parametrize(
    ("figures", "end", "why"),
    [
        (GOOD, State.PROMOTED, "gates_passed"),
        (BAD, State.ROLLED_BACK, "errors_worse"),
        (LEAK, State.ROLLED_BACK, "leak"),
        (LATE, State.ROLLED_BACK, "ttft_p95_worse"),
        (HALTING, State.ROLLED_BACK, "gap_p95_worse"),
    ],
)
async def test_a_rollout_ends_as_its_figures_decide_and_says_why(
    shop: Shop, figures: Figures, end: State, why: str
) -> None:
    assert await go_on(shop, figures) is end
    await _the_trail_is_whole(shop)
    report = await shop.rollouts.of(FJELLVIK).report("support")
    assert [step.who for step in report.steps] == ["key test-fjellvik"] * 2 + ["gates"]
    assert report.steps[-1].why == (why,)
    assert report.steps[-1].figures == figures == report.figures
    assert report.rollout.serving == (2 if end is State.PROMOTED else 1)
    assert report.rollout.started_at is not None
    assert report.rollout.ended_at is not None
    assert await shop.index.of(VOLTBAY).list("support") == []


async def test_a_twin_without_the_latency_gates_is_caught(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def times(name: str, control: Histogram, canary: Histogram, *rest: float) -> GateResult:
        return honest(name, control, control, *rest)

    honest = gates._duration
    monkeypatch.setattr(gates, "_duration", times)
    for figures in (LATE, HALTING):
        assert await go_on(shop, figures) is State.PROMOTED
        await shop.index.purge(OPERATOR, FJELLVIK.tenant_id)


async def test_a_look_that_decides_nothing_is_in_the_trail_once(shop: Shop) -> None:
    rollout = await shop.running()
    figures = Figures(arm(900), arm(60))
    await shop.index.of(FJELLVIK).add_figures(rollout, "gateway", figures)
    assert [await shop.judge.look_at_all() for _ in range(3)] == [1, 0, 0]
    report = await shop.rollouts.of(FJELLVIK).report("support")
    assert (report.steps[-1].after, report.steps[-1].why) == (State.RUNNING, ("window_not_over",))
    assert report.rollout.looks == 1


async def test_a_leak_of_an_answer_that_began_before_a_look_counts_at_once(shop: Shop) -> None:
    before = await shop.running()
    index = shop.index.of(FJELLVIK)
    await index.add_figures(before, "gateway", Figures(arm(900), arm(60)))
    assert await shop.judge.look_at_all() == 1
    await index.add_figures(before, "another", LEAK)
    await shop.judge.look_now(before)
    report = await shop.rollouts.of(FJELLVIK).report("support")
    assert (report.rollout.state, report.steps[-1].why) == (State.ROLLED_BACK, ("leak",))
    await shop.judge.look_now(before)
    await _the_trail_is_whole(shop)


async def test_a_comparison_ends_without_a_promotion(shop: Shop) -> None:
    own = shop.rollouts.of(FJELLVIK)
    await own.propose("support", 2, 10, POLICY, shadow=True)
    assert await go_on(shop) is State.STOPPED
    report = await own.report("support")
    assert (report.rollout.serving, report.steps[-1].why) == (1, ("gates_passed",))


async def test_of_gateways_that_decide_at_once_one_does(shop: Shop) -> None:
    rollout = await shop.running()
    await shop.index.of(FJELLVIK).add_figures(rollout, "gateway", BAD)
    gateways = [Shop.over(shop.database) for _ in range(4)]
    # All of them have read the same revision.
    ends = await asyncio.gather(*(gateway.judge.look(rollout) for gateway in gateways))
    assert sum(end.state is State.ROLLED_BACK for end in ends) == 1
    await _the_trail_is_whole(shop)


async def test_a_stop_and_a_decision_at_once_give_one_end(shop: Shop) -> None:
    rollout = await shop.running()
    await shop.index.of(FJELLVIK).add_figures(rollout, "gateway", GOOD)
    await asyncio.gather(
        shop.judge.look(rollout), shop.rollouts.of(FJELLVIK).stop("support"), return_exceptions=True
    )
    await _the_trail_is_whole(shop)


async def test_of_proposals_at_once_one_is_kept(shop: Shop) -> None:
    own = shop.rollouts.of(FJELLVIK)
    proposed = await asyncio.gather(
        *(own.propose("support", 2, 10, POLICY) for _ in range(6)), return_exceptions=True
    )
    assert sum(isinstance(one, Rollout) for one in proposed) == 1
    assert all(isinstance(one, Rollout | RolloutRunsError) for one in proposed)
    with pytest.raises(RolloutRunsError):
        await own.propose("support", 2, 10, POLICY)
    assert await shop.rollouts.of(VOLTBAY).propose("support", 2, 10, POLICY)


async def test_gateways_add_up_and_one_that_repeats_itself_counts_once(shop: Shop) -> None:
    rollout = await shop.running()
    ledgers = [FigureLedger(shop.index) for _ in range(2)]
    for ledger in ledgers:
        ledger.of(FJELLVIK).note(rollout, Arm.CANARY, arm(3))
        await ledger.flush(OPERATOR)
        ledger.of(FJELLVIK).note(rollout, Arm.CONTROL, arm(5))
        for _ in range(2):
            await ledger.flush(OPERATOR)
    assert await shop.index.of(FJELLVIK).figures(rollout) == Figures(arm(10), arm(6))
    assert await shop.index.of(VOLTBAY).figures(rollout) == Figures()


async def test_what_comes_after_the_end_is_not_counted(shop: Shop) -> None:
    rollout = await shop.running()
    ledger = FigureLedger(shop.index)
    ledger.of(FJELLVIK).note(rollout, Arm.CANARY, arm(3))
    await ledger.flush(OPERATOR)
    await shop.rollouts.of(FJELLVIK).stop("support")
    for _ in range(2):
        ledger.of(FJELLVIK).note(rollout, Arm.CANARY, arm(3))
        await ledger.flush(OPERATOR)
    assert await shop.index.of(FJELLVIK).figures(rollout) == Figures(canary=arm(3))


async def test_scores_replace_earlier_ones_and_are_of_the_rollouts_versions(shop: Shop) -> None:
    await shop.running()
    own = shop.rollouts.of(FJELLVIK)
    for scores in ([0.0], [1.0, 0.5]):
        await own.score("support", 2, scores)
    await own.score("support", 1, [0.25])
    figures = (await own.report("support")).figures
    assert (figures.canary.scores.count, figures.canary.scores.total) == (2, 1.5)
    assert (figures.control.scores.count, figures.control.scores.total) == (1, 0.25)
    for version, scores in ((3, [1.0]), (2, []), (2, [1.5]), (2, [float("nan")])):
        with pytest.raises(RolloutRefusedError):
            await own.score("support", version, scores)
    await own.stop("support")
    with pytest.raises(RolloutStateError):
        await own.score("support", 2, [1.0])


async def test_a_version_that_is_revoked_ends_its_rollout(shop: Shop) -> None:
    for version, end, why in (
        (2, State.ROLLED_BACK, "canary_gone"),
        (1, State.STOPPED, "control_gone"),
    ):
        ctx = FJELLVIK if version == 2 else VOLTBAY
        await shop.running(ctx)
        await shop.adapters.of(ctx).revoke(Reference("support", version))
        await shop.judge.look_at_all()
        report = await shop.rollouts.of(ctx).report("support")
        assert (report.rollout.state, report.steps[-1].why) == (end, (why,))


async def test_a_name_follows_its_rollout_until_it_is_released(shop: Shop) -> None:
    own, index = shop.rollouts.of(FJELLVIK), shop.index.of(FJELLVIK)
    proposed = await own.propose("support", 3, 10, POLICY, control=1)
    assert [one.serving for one in await index.holding()] == [1]
    with pytest.raises(AdapterNotFoundError):
        await own.start("support")  # the candidate is not uploaded yet
    with pytest.raises(RolloutStateError):
        await own.release("support")
    await own.stop("support")
    assert await index.holding() != []
    with pytest.raises(RolloutStateError):
        await own.stop("support")
    again = await own.propose("support", 2, 10, POLICY)
    assert (again.number, again.proposal.control) == (2, proposed.proposal.control)
    assert [one.id for one in await index.holding()] == [again.id]
    await own.stop("support")
    await own.release("support")
    assert await index.holding() == []
    with pytest.raises(RolloutStateError):
        await own.release("support")


@pytest.mark.parametrize(
    ("candidate", "percent", "control"),
    [(1, 10, 1), (0, 10, 1), (2, 0, 1), (2, 91, 1), (2, float("nan"), 1), (10**10, 10, 1)],
)
async def test_what_cannot_be_is_refused(
    shop: Shop, candidate: int, percent: float, control: int
) -> None:
    with pytest.raises(RolloutRefusedError):
        await shop.rollouts.of(FJELLVIK).propose("support", candidate, percent, POLICY, control)
    assert await shop.index.everybodys(OPERATOR) == []


async def test_a_stranger_finds_changes_and_ends_nothing(shop: Shop) -> None:
    rollout = await shop.running()
    theirs, index = shop.rollouts.of(VOLTBAY), shop.index.of(VOLTBAY)
    for attempt in (
        lambda: theirs.report("support"),
        lambda: theirs.list("support"),
        lambda: theirs.stop("support"),
        lambda: theirs.start("support"),
        lambda: theirs.release("support"),
        lambda: theirs.score("support", 2, [0.0]),
    ):
        with pytest.raises(RolloutNotFoundError):
            await attempt()
    with pytest.raises(AdapterNotFoundError):
        await theirs.propose("sales", 2, 10, POLICY)
    # Even with the record in hand.
    assert await index.steps(rollout) == []
    assert await index.add_figures(rollout, "stranger", LEAK) is False
    with pytest.raises(RolloutStateError):
        await index.change(rollout, index_module.Change(State.STOPPED, "stranger", ()))
    with pytest.raises(CrossTenantError):
        FigureLedger(shop.index).of(VOLTBAY).note(rollout, Arm.CANARY, arm(1))
    assert (await shop.index.of(FJELLVIK).list("support")) == [rollout]


async def test_a_twin_that_forgets_the_tenant_is_caught(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def named(tenant: object, name: str | None = None) -> object:
        return true() if name is None else RolloutRow.name == name

    monkeypatch.setattr(index_module, "_mine", named)
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        await test_a_stranger_finds_changes_and_ends_nothing(shop)


async def test_a_restricted_key_begins_and_ends_nothing(shop: Shop) -> None:
    await shop.running()
    reader = tenant_for_tests(
        "fjellvik", access=Access(unrestricted=False, groups=frozenset({"sales"}))
    )
    own = shop.rollouts.of(reader)
    for attempt in (
        lambda: own.propose("support", 2, 10, POLICY),
        lambda: own.start("support"),
        lambda: own.stop("support"),
        lambda: own.release("support"),
        lambda: own.score("support", 2, [1.0]),
    ):
        with pytest.raises(RestrictedKeyError):
            await attempt()


async def test_a_tenants_rollouts_are_deleted_with_it_and_no_others(shop: Shop) -> None:
    rollout = await shop.running()
    theirs = await shop.running(VOLTBAY)
    await shop.index.of(FJELLVIK).add_figures(rollout, "gateway", GOOD)
    await TenantRegistry(shop.database).begin_deletion(OPERATOR, FJELLVIK.tenant_id)
    await shop.rollouts.purge(OPERATOR, FJELLVIK.tenant_id)
    assert await shop.index.everybodys(OPERATOR) == [theirs]
    assert await shop.index.of(FJELLVIK).steps(rollout) == []
    assert await shop.index.of(FJELLVIK).figures(rollout) == Figures()
    # Nobody finds an adapter of a tenant that is being deleted.
    with pytest.raises(AdapterNotFoundError):
        await shop.rollouts.of(FJELLVIK).propose("support", 2, 10, POLICY)
    assert await shop.index.everybodys(OPERATOR) == [theirs]


class _Crash(BaseException):
    """Nothing catches it."""


async def test_a_crash_before_any_statement_leaves_what_the_next_start_goes_on_from(
    database_url: str,
) -> None:
    def crash() -> None:
        raise _Crash

    database, crashing = [await Database.open(database_url) for _ in range(2)]
    shop, crashed, nth = await prepared(database), True, 0
    while crashed:
        nth += 1
        restored = at_statement(crashing, nth, crash)
        try:
            await go_on(Shop.over(crashing))
            crashed = False
        except _Crash:
            pass
        restored()
        assert await go_on(shop) is State.PROMOTED
        await _the_trail_is_whole(shop)
        await shop.index.purge(OPERATOR, FJELLVIK.tenant_id)
    assert nth > 15
    for one in (database, crashing):
        await one.close()


@pytest.mark.parametrize("nth", [4, 9, 17, 21])
async def test_a_killed_gateways_rollout_is_ended_by_the_next(database_url: str, nth: int) -> None:
    database = await Database.open(database_url)
    shop = await prepared(database)
    command = [sys.executable, "-m", "tests.control.rollouts", database_url, str(nth)]
    killed = await asyncio.to_thread(subprocess.run, command)
    assert killed.returncode == -signal.SIGKILL
    assert await go_on(shop) is State.PROMOTED
    await _the_trail_is_whole(shop)
    await database.close()
