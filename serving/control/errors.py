"""The error tree of `serving.control`; `status` is what the operator's API answers.

BulkheadError
├── TenantExistsError      409
├── TenantNotFoundError    404
├── KeyNotFoundError       404
├── DeadLetterNotFoundError    404
├── PublicPrefixNotFoundError  404
├── TooManyPublicPrefixesError 409
├── ReembeddingRunsError   409
└── ReembeddingLostError
"""

from __future__ import annotations

from typing import ClassVar

from isolation.errors import BulkheadError


class TenantExistsError(BulkheadError):
    """A tenant of this id is there already."""

    code = "tenant_exists"
    status: ClassVar[int] = 409

    def __init__(self) -> None:
        super().__init__("There is a tenant of this id already.")


class TenantNotFoundError(BulkheadError):
    """There is no tenant of this id."""

    code = "tenant_not_found"
    status: ClassVar[int] = 404

    def __init__(self) -> None:
        super().__init__("There is no tenant of this id. Add it with 'bulkhead tenant add'.")


class DeadLetterNotFoundError(BulkheadError):
    """There is no dead letter of this id."""

    code = "dead_letter_not_found"
    status: ClassVar[int] = 404

    def __init__(self) -> None:
        super().__init__("There is no dead letter of this id. 'bulkhead engine dead-letters'.")


class KeyNotFoundError(BulkheadError):
    """There is no key of this id."""

    code = "key_not_found"
    status: ClassVar[int] = 404

    def __init__(self) -> None:
        super().__init__("There is no key of this id.")


class PublicPrefixNotFoundError(BulkheadError):
    """No public prefix has this name."""

    code = "public_prefix_not_found"
    status: ClassVar[int] = 404

    def __init__(self) -> None:
        super().__init__("There is no public prefix of this name.")


class TooManyPublicPrefixesError(BulkheadError):
    """No more of them are kept."""

    code = "too_many_public_prefixes"
    status: ClassVar[int] = 409

    def __init__(self, most: int) -> None:
        super().__init__(f"At most {most} prefixes may be public. Withdraw one of them.")


class ReembeddingRunsError(BulkheadError):
    """A re-embedding is under way."""

    code = "reembedding_runs"
    status: ClassVar[int] = 409

    def __init__(self) -> None:
        super().__init__("A re-embedding is under way. Wait for it; GET says how far it is.")


class ReembeddingLostError(BulkheadError):
    """The gateway that re-embedded was silent for too long, and the others went on without it."""

    code = "reembedding_lost"

    def __init__(self) -> None:
        super().__init__("The re-embedding stood still for too long: it was ended. Run it again.")
