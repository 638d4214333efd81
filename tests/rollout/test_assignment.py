"""Which version a conversation gets."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from isolation.testing.contexts import tenant_for_tests
from serving.rollout.assignment import Arm, Assigner

FJELLVIK, VOLTBAY = tenant_for_tests("fjellvik"), tenant_for_tests("voltbay")
KEY = b"k" * 32
PERCENT = st.floats(0, 100)


@given(st.text(), PERCENT)
def test_a_conversation_stays_with_its_version_on_every_gateway(
    conversation: str, percent: float
) -> None:
    arms = {Assigner(KEY).arm(FJELLVIK, "r", conversation, percent) for _ in range(3)}
    assert len(arms) == 1


@given(st.text(), PERCENT, PERCENT)
def test_a_greater_percentage_takes_no_conversation_from_the_canary(
    conversation: str, one: float, other: float
) -> None:
    less, more = sorted((one, other))
    assigner = Assigner(KEY)
    if assigner.arm(FJELLVIK, "r", conversation, less) is Arm.CANARY:
        assert assigner.arm(FJELLVIK, "r", conversation, more) is Arm.CANARY


@given(st.text())
def test_none_is_none_and_all_is_all(conversation: str) -> None:
    assert Assigner(KEY).arm(FJELLVIK, "r", conversation, 0) is Arm.CONTROL
    assert Assigner(KEY).arm(FJELLVIK, "r", conversation, 100) is Arm.CANARY


def _canaries(key: bytes, tenant: str, rollout: str, percent: float) -> set[int]:
    assigner, ctx = Assigner(key), tenant_for_tests(tenant)
    return {
        number
        for number in range(4_000)
        if assigner.arm(ctx, rollout, f"c{number}", percent) is Arm.CANARY
    }


def test_the_canary_gets_its_percentage() -> None:
    for percent in (1, 10, 50):
        share = len(_canaries(KEY, "fjellvik", "r", percent)) / 40
        assert abs(share - percent) < 3


def test_tenants_rollouts_and_keys_divide_conversations_independently() -> None:
    mine = _canaries(KEY, "fjellvik", "r", 50)
    for others in (
        _canaries(KEY, "voltbay", "r", 50),
        _canaries(KEY, "fjellvik", "s", 50),
        _canaries(b"o" * 32, "fjellvik", "r", 50),
    ):
        assert abs(len(mine & others) / 4_000 - 0.25) < 0.03


def test_parts_that_are_joined_alike_are_not_alike() -> None:
    arms = [
        [
            Assigner(KEY).arm(FJELLVIK, f"r{n}", "c", 50),
            Assigner(KEY).arm(FJELLVIK, "r", f"{n}c", 50),
        ]
        for n in range(64)
    ]
    assert any(one is not other for one, other in arms)
