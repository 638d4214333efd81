"""A signer for tests."""

from __future__ import annotations

from serving.engine.proof import ProofSigner


def signer_for_tests(number: int = 1) -> ProofSigner:
    """Signers of different numbers have different keys, and name the same accounts."""
    return ProofSigner(bytes([number]) * 32, b"account key of the tests".ljust(32))
