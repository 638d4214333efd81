"""Support messages without personal data: what is found in them is a false alarm."""

from __future__ import annotations

import json
import random
import re
from importlib.resources import files

from evals.privacy.samples import DEVELOPMENT, HELD_OUT, Sample

_TEXTS = files("evals.privacy").joinpath("texts")
_FILLERS: dict[str, list[str]] = json.loads(
    _TEXTS.joinpath("clean_fillers.json").read_text("utf-8")
)
BRANDS = tuple(_FILLERS["brand"])


def clean(count: int, seed: int) -> list[Sample]:
    """`count` different messages, half of them of frames that the rules were not written with."""
    frames = _TEXTS.joinpath("clean_frames.txt").read_text("utf-8").splitlines()
    draw = random.Random(seed)
    found: dict[str, str] = {}
    for turn in range(count * 20):
        index = turn % len(frames)
        message = re.sub(r"\{(\w+)\}", lambda m: draw.choice(_FILLERS[m[1]]), frames[index])
        found.setdefault(message, HELD_OUT if index % 2 else DEVELOPMENT)
        if len(found) == count:
            break
    return [Sample(message, (), half) for message, half in found.items()]
