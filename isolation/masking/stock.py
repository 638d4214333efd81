"""Presidio as it comes, for comparison: all its English recognizers on the same model."""

from __future__ import annotations

import tldextract.tldextract
from presidio_analyzer import AnalyzerEngine

from isolation.masking.findings import Finding
from isolation.masking.model import LANGUAGE, nlp_engine


class StockPresidio:
    """A `Detector` that nothing was added to."""

    def __init__(self) -> None:
        tldextract.tldextract.TLD_EXTRACTOR = tldextract.tldextract.TLDExtract(
            suffix_list_urls=(), cache_dir=None
        )
        self._analyzer = AnalyzerEngine(
            nlp_engine=nlp_engine(only_entities=False), supported_languages=[LANGUAGE]
        )

    def find(self, text: str, locale: str | None = None) -> list[Finding]:
        results = self._analyzer.analyze(text, language=LANGUAGE)
        return [Finding(r.start, r.end, r.entity_type, r.score) for r in results]
