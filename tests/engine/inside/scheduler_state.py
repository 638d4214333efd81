"""Every KV slot that a tenant was ever given, read from the pool when it is released."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from serving.engine_plugin.claims import KvPolicy
from serving.engine_plugin.metering import _cost
from tests.engine.inside.worker import Tenant, Worker, sglang_scheduler

OTHER = Tenant("other")
# Nothing is kept in the prefix cache: a request's end releases all that it held.
NOTHING = 1e-9

Release = Callable[[Worker, bool, Path], None]


def _tenant(scrub: bool, **policy: float) -> Tenant:
    return Tenant("tenant", KvPolicy(scrub=scrub, **{"cap": NOTHING} | policy))


def _finished(worker: Worker, scrub: bool, _: Path) -> None:
    for tokens in (30, 300):
        worker.answered(_tenant(scrub), tokens, new=5)


def _aborted(worker: Worker, scrub: bool, _: Path) -> None:
    worker.abort(worker.decoding(_tenant(scrub), 30))
    worker.finish()


def _aborted_between_two_chunks(worker: Worker, scrub: bool, _: Path) -> None:
    rid = worker.ask(_tenant(scrub), 300)
    worker.step()
    assert worker.scheduler.chunked_req.rid == rid
    worker.abort(rid)
    worker.finish()


def _retracted(worker: Worker, scrub: bool, _: Path) -> None:
    worker.decoding(OTHER, 20)
    rid = worker.decoding(_tenant(scrub), 30)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sglang_scheduler, "TEST_RETRACT", True)  # SGLang's own switch
        patch.setattr(sglang_scheduler, "TEST_RETRACT_INTERVAL", 1)
        worker.plan()
    cost = _cost(worker.request(rid))
    assert (cost["retractions"], cost["preemptions"]) == (1, 0)


def _preempted(worker: Worker, scrub: bool, _: Path) -> None:
    worker.decoding(OTHER, 20)
    rid = worker.decoding(_tenant(scrub), 30)
    worker.ask(Tenant("urgent", priority=11), 20)
    worker.plan()
    cost = _cost(worker.request(rid))
    assert (cost["retractions"], cost["preemptions"]) == (0, 1)


def _evicted(worker: Worker, scrub: bool, _: Path) -> None:
    worker.answered(_tenant(scrub, cap=0, weight=1e-6), 300)
    assert not worker.slots.released
    for flood in (OTHER, Tenant("another")):
        worker.answered(flood, 600)


def _unloaded(worker: Worker, scrub: bool, adapter: Path) -> None:
    worker.load("adapter", adapter)
    worker.answered(Tenant("tenant", KvPolicy(scrub=scrub), "adapter"), 100)
    assert not worker.slots.released
    worker.unload("adapter")


RELEASES = (
    _finished,
    _aborted,
    _aborted_between_two_chunks,
    _retracted,
    _preempted,
    _evicted,
    _unloaded,
)
each_release = pytest.mark.parametrize("release", RELEASES, ids=lambda f: f.__name__.strip("_"))


def _held(worker: Worker, release: Release, scrub: bool, adapter: Path) -> set[int]:
    """Release all that the tenant holds; every slot that it ever held."""
    release(worker, scrub, adapter)
    slots = worker.slots
    # None was given that is not in the record.
    assert slots.allocated == set().union(*slots.held.values())
    held = slots.held["tenant"]
    assert len(held) >= 30
    assert slots.released["tenant"] == held
    return held


@each_release
def test_every_slot_that_a_tenant_ever_held_is_zeroed_when_released(
    worker: Worker, release: Release, adapter: Path
) -> None:
    held = _held(worker, release, True, adapter)
    assert not worker.slots.unclean
    # And stays so until somebody is given it, as the flood of an eviction is.
    kept = held & worker.slots.free
    assert not worker.slots.holding(kept)
    assert kept == held or release is _evicted


@each_release
def test_with_the_policy_off_every_one_of_them_holds_the_data(
    worker: Worker, release: Release, adapter: Path
) -> None:
    held = _held(worker, release, False, adapter)
    assert worker.slots.unclean == {"tenant": held}
    kept = held & worker.slots.free
    assert worker.slots.holding(kept) == kept
    assert kept == held or release is _evicted


@pytest.mark.parametrize("scrub", [True, False])
def test_a_purge_and_a_flush_zero_what_the_policy_would_keep(worker: Worker, scrub: bool) -> None:
    def purged() -> None:
        worker.decoding(_tenant(scrub, cap=0), 30)
        while worker.purge("tenant"):
            worker.step()

    def flushed() -> None:
        assert worker.scheduler.flush_cache()

    for clear in (purged, flushed):
        worker.answered(_tenant(scrub, cap=0), 300)
        held = set(worker.slots.held["tenant"])
        # The control: it was there.
        assert worker.resident("tenant") >= 300
        assert len(worker.slots.holding(held)) >= 300
        clear()
        held |= worker.slots.held["tenant"]
        assert worker.resident("tenant") == 0
        assert held <= worker.slots.free
        assert not worker.slots.holding(held)
        worker.anew()
