"""Words as rules know them: no part of any name, or somebody's first name."""

from __future__ import annotations

from importlib.resources import files


def words(text: str) -> frozenset[str]:
    """The words of `text`, for sets that read better as one line."""
    return frozenset(text.split())


def _listed(name: str) -> frozenset[str]:
    return words(files("isolation.masking").joinpath("data", name).read_text("utf-8"))


# In lower case. See data/README.md for where they come from.
NOT_A_NAME = _listed("not_names.txt")
_FIRST_NAMES = _listed("first_names.txt")


def is_first_name(word: str) -> bool:
    """Whether people are called so, in any case; "Ada's" too."""
    return word.lower().strip(".'").removesuffix("'s") in _FIRST_NAMES
