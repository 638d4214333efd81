"""What is sealed for one tenant opens for nobody else, and says nothing without its key."""

from __future__ import annotations

import pytest

from isolation.sealing import SealError, TenantCipher
from isolation.tenant_id import TenantId

FJELLVIK, VOLTBAY = TenantId("fjellvik"), TenantId("voltbay")
KEY, OTHER = b"k" * 32, b"o" * 32


@pytest.mark.parametrize("text", ["", "Returns within 30 days.", "Größe ⛵ \n", "x" * 100_000])
def test_what_was_sealed_opens(text: str) -> None:
    sealed = TenantCipher(FJELLVIK, KEY).seal(text)
    assert TenantCipher(FJELLVIK, KEY).open(sealed) == text
    assert not text or text not in sealed


def test_two_sealings_of_one_text_differ() -> None:
    cipher = TenantCipher(FJELLVIK, KEY)
    assert cipher.seal("same") != cipher.seal("same")


@pytest.mark.parametrize("stranger", [TenantCipher(VOLTBAY, KEY), TenantCipher(FJELLVIK, OTHER)])
def test_another_tenant_or_another_key_does_not_open_it(stranger: TenantCipher) -> None:
    with pytest.raises(SealError):
        stranger.open(TenantCipher(FJELLVIK, KEY).seal("secret"))


def test_what_was_changed_does_not_open() -> None:
    cipher = TenantCipher(FJELLVIK, KEY)
    sealed = cipher.seal("secret")
    for changed in (sealed[:-8] + "AAAAAAA=", sealed[:20], sealed + "%"):
        with pytest.raises(SealError):
            cipher.open(changed)


def test_a_text_from_before_there_were_keys_is_given_as_it_is() -> None:
    assert TenantCipher(FJELLVIK, KEY).open("Returns within 30 days.") == "Returns within 30 days."


def test_the_key_is_not_shown() -> None:
    assert "k" * 8 not in repr(TenantCipher(FJELLVIK, KEY))
