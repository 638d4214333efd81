"""Which of its own tenant's documents a credential may see: all, or those of some groups.

A document without groups is every credential's of its tenant. A document with groups is seen by
credentials that hold at least one of them, and by unrestricted ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from isolation.errors import BulkheadError

MAX_GROUPS = 32
_GROUP = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class InvalidGroupError(BulkheadError):
    """A group's name, or the number of them, is not acceptable."""

    code = "invalid_group"
    status: ClassVar[int] = 400

    def __init__(self) -> None:
        super().__init__(
            f"At most {MAX_GROUPS} groups; each has 1 to 63 of a-z, 0-9, _ and -, and begins with "
            "a letter or digit."
        )


@dataclass(frozen=True, slots=True)
class Access:
    """What a credential may see. `groups` counts where it is not `unrestricted`."""

    unrestricted: bool
    groups: frozenset[str]

    def sees(self, groups: frozenset[str]) -> bool:
        """Whether a document of these groups is seen."""
        return self.unrestricted or not groups or not self.groups.isdisjoint(groups)


UNRESTRICTED = Access(True, frozenset())


def restricted_to(groups: Iterable[str]) -> Access:
    """Documents of these groups, and those of none. No groups: only the latter.

    Raises:
        InvalidGroupError: a name is not acceptable.
    """
    return Access(False, checked_groups(groups))


def checked_groups(groups: Iterable[str]) -> frozenset[str]:
    """The names as a set.

    Raises:
        InvalidGroupError: a name is not acceptable, or there are too many.
    """
    names = frozenset(groups)
    if len(names) > MAX_GROUPS or not all(
        isinstance(name, str) and _GROUP.fullmatch(name) for name in names
    ):
        raise InvalidGroupError
    return names
