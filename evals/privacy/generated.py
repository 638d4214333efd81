"""Support messages from `presidio-evaluator`: its people, addresses, numbers; our templates."""

from __future__ import annotations

import contextlib
import io
import random
import string
import warnings
from importlib.resources import files
from typing import Any

from faker.providers import BaseProvider

from evals.privacy.samples import DEVELOPMENT, HELD_OUT, Sample, Span

_KINDS = {"ZIP_CODE": "POSTAL_CODE"}
_LOWER_CASE = 0.1


class _Shop(BaseProvider):
    """What a shop gives a customer."""

    def order_number(self) -> str:
        forms = ("#W#######", "##########", "SO-2026-#####", "????-#####", "5#########")
        return self.bothify(self.random_element(forms), letters=string.ascii_uppercase)

    def tracking_number(self) -> str:
        forms = ("1Z????##########", "##############", "JJD##############", "92##################")
        return self.bothify(self.random_element(forms), letters=string.ascii_uppercase)

    def username(self) -> str:
        forms = ("????_####", "????.?????", "?????##", "????????_#")
        return self.bothify(self.random_element(forms), letters=string.ascii_lowercase)


def generated(count: int, seed: int) -> list[Sample]:
    """`count` messages of each half. The people are FakeNameGenerator's, of many countries."""
    return [
        *_half("templates_development.txt", DEVELOPMENT, count, seed),
        *_half("templates_held_out.txt", HELD_OUT, count, seed + 1),
    ]


def _half(name: str, half: str, count: int, seed: int) -> list[Sample]:
    text = files("evals.privacy").joinpath("texts", name).read_text(encoding="utf-8")
    templates = [line.replace("\\n", "\n") for line in text.splitlines()]
    samples: list[Sample] = []
    faker = _faker(templates, seed)
    while len(samples) < count:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            found = faker.generate_new_fake_sentences(count)
        # Some of its addresses lack a part, and say "nan" instead.
        samples += [_sample(each, half) for each in found if " nan" not in each.full_text]
    return samples[:count]


def _faker(templates: list[str], seed: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from presidio_evaluator.data_generator import PresidioSentenceFaker
        from presidio_evaluator.data_generator.faker_extensions import (
            AddressProviderNew,
            IpAddressProvider,
            PhoneNumberProviderNew,
        )
    random.seed(seed)
    mapping = {
        **PresidioSentenceFaker.ENTITY_TYPE_MAPPING,
        "date_of_birth": "DATE_OF_BIRTH",
        "order_number": "ORDER_NUMBER",
        "tracking_number": "TRACKING_NUMBER",
        "username": "USERNAME",
        "zipcode": "POSTAL_CODE",
    }
    with contextlib.redirect_stdout(io.StringIO()):
        return PresidioSentenceFaker(
            "en_US",
            lower_case_ratio=_LOWER_CASE,
            sentence_templates=templates,
            # Not all of the package's: its hospitals come from the network.
            entity_providers=[AddressProviderNew, IpAddressProvider, PhoneNumberProviderNew, _Shop],
            entity_type_mapping=mapping,
            random_seed=seed,
        )


def _sample(found: Any, half: str) -> Sample:
    spans = (
        Span(each.start_position, each.end_position, _KINDS.get(each.entity_type, each.entity_type))
        for each in found.spans
    )
    return Sample(found.full_text, tuple(sorted(spans, key=lambda span: span.start)), half)
