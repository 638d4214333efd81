"""The embedding model's files are the pinned ones, or it embeds nothing."""

from __future__ import annotations

import pytest

from rag.embedding import minilm
from rag.embedding.minilm import MiniLmEmbedder, ModelFileError


@pytest.mark.parametrize("pin", ["_MODEL_SHA256", "_TOKENIZER_SHA256"])
async def test_a_file_that_is_not_the_pinned_one_is_refused(
    pin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedder = MiniLmEmbedder()
    assert len((await embedder.embed(["Returns within 30 days."]))[0]) == embedder.dimension
    embedder.close()
    monkeypatch.setattr(minilm, pin, "0" * 64)
    other = MiniLmEmbedder()
    with pytest.raises(ModelFileError, match="is not the pinned file"):
        await other.embed(["Returns within 30 days."])
    other.close()
