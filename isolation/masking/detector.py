"""Presidio with our rules beside its own recognizers, on normalized text."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import tldextract.tldextract
from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
from presidio_analyzer.predefined_recognizers import (
    EsNifRecognizer,
    FiPersonalIdentityCodeRecognizer,
    InAadhaarRecognizer,
    IpRecognizer,
    ItFiscalCodeRecognizer,
    NhsRecognizer,
    PlPeselRecognizer,
    SpacyRecognizer,
)

from isolation.masking.entities import BY_PRESIDIO
from isolation.masking.findings import Finding
from isolation.masking.model import LANGUAGE, nlp_engine
from isolation.masking.normalize import normalize
from isolation.masking.persons import is_person, whole
from isolation.masking.recase import recase
from isolation.masking.rules import all as rules
from isolation.masking.rules.cues import cue_before, has_cue

_MAKERS = (
    IpRecognizer,
    NhsRecognizer,
    EsNifRecognizer,
    ItFiscalCodeRecognizer,
    PlPeselRecognizer,
    FiPersonalIdentityCodeRecognizer,
    InAadhaarRecognizer,
)
# Plain digits with a check digit: one article number in ten passes, so the word must stand before.
_BY_CUE_ALONE = frozenset({"UK_NHS", "PL_PESEL", "IN_AADHAAR"})
_THRESHOLD = 0.4


class PresidioDetector:
    """A `Detector`. Takes seconds and 400 MB to make; nothing of it touches the network."""

    def __init__(self) -> None:
        # Else the first e-mail address would fetch a list of public suffixes, inside a request.
        tldextract.tldextract.TLD_EXTRACTOR = tldextract.tldextract.TLDExtract(
            suffix_list_urls=(), cache_dir=None
        )
        self._nlp = nlp_engine(only_entities=True)
        registry = RecognizerRegistry(
            recognizers=[
                SpacyRecognizer(supported_entities=["PERSON"]),
                *(make(supported_language=LANGUAGE) for make in _MAKERS),
            ],
            supported_languages=[LANGUAGE],
        )
        self._analyzer = AnalyzerEngine(
            registry=registry, nlp_engine=self._nlp, supported_languages=[LANGUAGE]
        )

    def find(self, text: str, locale: str | None = None) -> list[Finding]:
        normalized = normalize(text)
        return [
            Finding(*normalized.original(found.start, found.end), found.entity, found.score)
            for found in self._found(normalized.text, locale)
            if found.start < found.end
        ]

    def _found(self, text: str, locale: str | None) -> Iterator[Finding]:
        yield from rules.find(text, locale)
        yield from _plausible(text, self._presidio(recase(text)))

    def _presidio(self, text: str) -> Iterator[Finding]:
        results = self._analyzer.analyze(
            text,
            language=LANGUAGE,
            entities=["PERSON", *BY_PRESIDIO],
            score_threshold=_THRESHOLD,
        )
        return (Finding(r.start, r.end, r.entity_type, r.score) for r in results)


def _plausible(text: str, findings: Iterable[Finding]) -> Iterator[Finding]:
    for found in findings:
        if found.entity == "PERSON":
            found = whole(text, found)
            kept = is_person(text, found)
        elif found.entity in _BY_CUE_ALONE:
            kept = has_cue(text, found.start, "NATIONAL_ID")
        else:
            kept = found.entity != "IP_ADDRESS" or cue_before(text, found.start) != "VERSION"
        if kept:
            yield found
