"""Proofs by themselves: what a verifier believes, and what it never does."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from isolation.namespaces import Namespace
from isolation.tenant_id import TenantId
from isolation.testing.contexts import tenant_for_tests
from serving.engine.proof import ProofSigner
from serving.engine_plugin.body import check_body
from serving.engine_plugin.claims import TENANT, WORKER, Claims, KvPolicy, key_id_of, opened, sign
from serving.engine_plugin.trust import Trust, TrustedKey, key_id, trust_document
from serving.engine_plugin.verifier import ProofRefusedError, Verifier
from tests.signing import signer_for_tests

NOW = 1_000_000.0
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
KEY_ID = key_id(KEY.public_key())
CLAIMS = Claims(
    role=TENANT,
    worker="w",
    route="POST /v1/chat/completions",
    body=hashlib.sha256(b"").hexdigest(),
    request_id="r",
    expires=NOW + 30,
    nonce="n",
    namespace="ns",
    account="a",
)
PROOF = sign(CLAIMS, KEY_ID, KEY)


@pytest.fixture
def clock() -> list[float]:
    return [NOW]


@pytest.fixture
def verifier(tmp_path: Path, clock: list[float]) -> Verifier:
    path = tmp_path / "trust.json"
    path.write_text(trust_document([TrustedKey(KEY.public_key(), frozenset((TENANT,)))]))
    return Verifier(Trust(path, {}), "w", clock=lambda: clock[0])


def _refusal(verifier: Verifier, proof: str | None) -> str:
    with pytest.raises(ProofRefusedError) as refused:
        verifier.believed(proof)
    return refused.value.code


def test_a_genuine_proof_is_believed_once(verifier: Verifier) -> None:
    assert verifier.believed(PROOF) == CLAIMS
    assert _refusal(verifier, PROOF) == "proof_replayed"


def test_a_proof_is_still_known_as_replayed_when_it_is_about_to_expire(
    verifier: Verifier, clock: list[float]
) -> None:
    verifier.believed(PROOF)
    clock[0] += 29
    assert _refusal(verifier, PROOF) == "proof_replayed"
    clock[0] += 1
    assert _refusal(verifier, PROOF) == "proof_expired"


def test_a_key_speaks_only_in_its_roles(verifier: Verifier) -> None:
    assert _refusal(verifier, sign(replace(CLAIMS, role=WORKER), KEY_ID, KEY)) == "proof_forged"


@given(st.integers(0, len(PROOF) - 1), st.characters(codec="utf-8"))
def test_no_changed_proof_opens(index: int, character: str) -> None:
    changed = PROOF[:index] + character + PROOF[index + 1 :]
    if changed == PROOF:
        return
    try:
        assert key_id_of(changed) == KEY_ID
        found = opened(changed, KEY.public_key())
    except (ValueError, AssertionError):
        return
    # Base64 has unused bits in its last character: the same signature in another spelling.
    assert found == CLAIMS


@pytest.mark.parametrize(
    "text", ["", "x", "v1...", "v2.a.b.c", "v1.\u00e9.b.c", "v1." + "a" * 9000]
)
def test_what_is_no_proof_is_refused(verifier: Verifier, text: str) -> None:
    assert _refusal(verifier, text) in ("proof_missing", "proof_forged")


def test_a_proof_in_another_spelling_is_still_a_replay(verifier: Verifier) -> None:
    verifier.believed(PROOF)
    respelled = [PROOF[:-1] + c for c in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"]
    codes = {_refusal(verifier, proof) for proof in respelled}
    assert codes <= {"proof_replayed", "proof_forged"}


def test_accounts_outlive_a_rotation_of_the_key_and_differ_between_tenants() -> None:
    one, two = TenantId("fjellvik"), TenantId("voltbay")
    old, new = signer_for_tests(1), signer_for_tests(2)
    assert old.account(one) == new.account(one) != new.account(two)
    assert old.account(one) != ProofSigner(bytes(32), bytes(32)).account(one)


def test_a_change_of_policy_changes_no_namespace() -> None:
    signer, tenant = signer_for_tests(), tenant_for_tests("fjellvik")
    claims = [
        opened(
            signer.for_tenant(
                tenant,
                Namespace("0" * 64),
                worker="w",
                request_id="r",
                adapter="",
                policy=policy,
                body=b"",
            ),
            signer.public,
        )
        for policy in (KvPolicy(reserved=0.1), KvPolicy(cap=0.5, scrub=False))
    ]
    assert claims[0].policy != claims[1].policy
    assert len({(claim.namespace, claim.account) for claim in claims}) == 1


def test_a_trust_file_cannot_name_one_key_as_another(tmp_path: Path) -> None:
    other = Ed25519PrivateKey.generate().public_key()
    document = trust_document([TrustedKey(other, frozenset((TENANT,)))])
    path = tmp_path / "trust.json"
    path.write_text(document.replace(key_id(other), KEY_ID))
    assert Trust(path, {}).find(KEY_ID) is None
    assert Trust(path, {}).names() == [key_id(other)]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{" * 5_000,
        b'{"model":"base","messages":[],"temperature":NaN}',
        b'{"model":"base","model":"base","messages":[]}',
        b'{"model":"base","messages":[{"role":"user","role":"system","content":""}]}',
        b'{"model":"base","messages":[{"role":"user","content":null}]}',
        b'{"model":["base"],"messages":[]}',
    ],
)
def test_a_body_that_can_be_read_in_two_ways_is_refused(body: bytes) -> None:
    with pytest.raises(ProofRefusedError) as refused:
        check_body(body, CLAIMS)
    assert refused.value.code == "body_refused"
