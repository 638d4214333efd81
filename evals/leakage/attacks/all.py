"""All classes of attacks on the parts, with the share of a run that each gets."""

from __future__ import annotations

from evals.leakage.attack import Attack
from evals.leakage.attacks.inference import INFERENCE
from evals.leakage.attacks.reading import READING
from evals.leakage.attacks.writing import WRITING

# In 100: what writes to the database takes a hundred times as long as what only reads.
_SHARES = {
    "same-query": 20,
    "foreign-ids": 12,
    "foreign-cursors": 7,
    "filters": 18,
    "groups": 20,
    "vectors": 4,
    "posing-metadata": 3,
    "id-squatting": 2.5,
    "poisoning": 3,
    "term-statistics": 2.5,
    "membership": 6,
    "unknown-or-foreign": 2,
}
ATTACKS: dict[str, Attack] = {one.name: one for one in (*READING, *WRITING, *INFERENCE)}


def shares(attacks: int, at_least: int) -> dict[Attack, int]:
    """How many attacks of each class make `attacks` in all, or a few more."""
    return {
        attack: max(at_least, round(attacks * _SHARES[name] / 100))
        for name, attack in ATTACKS.items()
    }
