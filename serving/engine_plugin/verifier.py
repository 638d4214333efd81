"""Believes a proof once."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from serving.engine_plugin.claims import Claims, MalformedProofError, key_id_of, opened
from serving.engine_plugin.trust import Trust

# A proof that lives longer than this was not made by a gateway of ours.
LONGEST_LIFE = 120.0
_MOST_NONCES = 500_000


class ProofRefusedError(Exception):
    """`code` says why, and nothing of any request."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Verifier:
    """Checks proofs for one worker.

    `grace` is for the second line, which sees a proof some seconds after the first one did.
    """

    def __init__(
        self,
        trust: Trust,
        worker: str,
        *,
        grace: float = 0.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._trust = trust
        self._worker = worker
        self._grace = grace
        self._clock = clock
        self._seen: set[str] = set()
        self._order: deque[tuple[float, str]] = deque()

    def believed(self, proof: str | None) -> Claims:
        """The claims of a proof that is genuine, for this worker, in force and new.

        Raises:
            ProofRefusedError: it is not.
        """
        if not proof:
            raise ProofRefusedError("proof_missing")
        claims = self._genuine(proof)
        if claims.worker != self._worker:
            raise ProofRefusedError("proof_of_another_engine")
        now = self._clock()
        if not now < claims.expires + self._grace or claims.expires > now + LONGEST_LIFE:
            raise ProofRefusedError("proof_expired")
        self._remember(claims, now)
        return claims

    def _genuine(self, proof: str) -> Claims:
        try:
            key = self._trust.find(key_id_of(proof))
            if key is None:
                raise ProofRefusedError("proof_forged")
            claims = opened(proof, key.public)
        except MalformedProofError:
            raise ProofRefusedError("proof_forged") from None
        if claims.role not in key.roles:
            raise ProofRefusedError("proof_forged")
        return claims

    def _remember(self, claims: Claims, now: float) -> None:
        while self._order and self._order[0][0] < now:
            self._seen.discard(self._order.popleft()[1])
        if claims.nonce in self._seen:
            raise ProofRefusedError("proof_replayed")
        if len(self._seen) >= _MOST_NONCES:
            raise ProofRefusedError("too_many_proofs")
        self._seen.add(claims.nonce)
        # In the order they came, which is nearly the order they expire in: none leaves early.
        self._order.append((now + LONGEST_LIFE + self._grace, claims.nonce))
