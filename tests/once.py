"""What each client reads anew is read once for all tests of a process."""

from __future__ import annotations

import functools
import ssl

import pytest
from botocore.loaders import JSONFileLoader
from qdrant_client.embed import embed_inspector, type_inspector
from qdrant_client.embed.schema_parser import ModelSchemaParser


def read_once() -> None:
    """Certificates, which no test looks at: reading them takes a client of HTTP 25 ms, and all
    those of a whole run took a sixth of its time. And what Amazon's services and Qdrant's models
    are like."""
    patch, model = pytest.MonkeyPatch(), functools.cache(JSONFileLoader().load_file)
    patch.setattr(ssl, "create_default_context", functools.cache(ssl.create_default_context))
    patch.setattr(JSONFileLoader, "load_file", lambda self, path: model(path))
    parser = functools.cache(ModelSchemaParser)
    for inspector in (embed_inspector, type_inspector):
        patch.setattr(inspector, "ModelSchemaParser", parser)
