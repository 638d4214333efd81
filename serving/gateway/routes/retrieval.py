"""`POST /v1/search` and `POST /v1/embeddings`."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

import numpy as np
import orjson
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from isolation.errors import InvalidRequestError
from rag.embedding.turns import InTurn
from rag.filter_json import parse_filter
from rag.retrieval.follow_up import Question
from serving.errors import ModelNotFoundError
from serving.gateway.dependencies import Parts, Tenant
from serving.gateway.disconnect import until_disconnect
from serving.gateway.json_body import read_json

router = APIRouter()


class _Search(BaseModel):
    model_config = ConfigDict(extra="forbid")

    query: str = Field(min_length=1, max_length=8_000)
    top_k: int = Field(5, ge=1, le=50)
    filter: dict[str, Any] | None = None
    masked: bool = False


class _Embeddings(BaseModel):
    model_config = ConfigDict(extra="forbid")

    model: str
    input: str | Annotated[list[str], Field(max_length=256)]
    encoding_format: Literal["float", "base64"] = "float"
    user: str | None = None


@router.post("/v1/search")
async def search(request: Request, ctx: Tenant, parts: Parts) -> dict[str, Any]:
    """The tenant's best passages for a query, best first. No vector and no foreign score leaves.

    masked: as a model gets them beside this query: as the tenant's policy says of documents, those
    too that came in before it.

    Raises:
        ContentBlockedError: the policy does not let something in them pass.
    """
    asked = await read_json(request, _Search, limit=64_000)
    where = None if asked.filter is None else parse_filter(asked.filter)
    question = Question(asked.query)
    passages = await parts.retriever.of(ctx).search(question, limit=asked.top_k, where=where)
    texts = [passage.text for passage in passages]
    if asked.masked and parts.masker is not None:
        given = [passage.masked or passage.text for passage in passages]
        texts = (await parts.masker.mask(ctx, [asked.query], given)).documents
    return {
        "object": "list",
        "data": [
            {
                "document_id": passage.document_id,
                "title": passage.title,
                "text": text,
                "score": passage.score,
            }
            for passage, text in zip(passages, texts, strict=True)
        ],
    }


@router.post("/v1/embeddings")
async def embeddings(request: Request, ctx: Tenant, parts: Parts) -> Response:
    """Embed the caller's own texts, OpenAI's shapes."""
    asked = await read_json(request, _Embeddings, limit=parts.settings.max_body_bytes)
    if asked.model != parts.embedder.name:
        raise ModelNotFoundError
    texts = [asked.input] if isinstance(asked.input, str) else asked.input
    if not texts or not all(texts):
        raise InvalidRequestError("Each input needs at least one character.", param="input")
    work = _embedded(asked, texts, InTurn(ctx, parts.embedder))
    try:
        return await until_disconnect(request.receive, work)
    except ClientDisconnect:
        return Response(status_code=499)


async def _embedded(asked: _Embeddings, texts: list[str], model: InTurn) -> Response:
    vectors = await model.embed(texts)
    tokens = await model.tokens(texts)
    body = {
        "object": "list",
        "model": asked.model,
        "data": [
            {"object": "embedding", "index": index, "embedding": _encoded(vector, asked)}
            for index, vector in enumerate(vectors)
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    # Not FastAPI's encoder, which takes the event loop a tenth of a second for 256 vectors.
    return Response(orjson.dumps(body), media_type="application/json")


def _encoded(vector: list[float], asked: _Embeddings) -> list[float] | str:
    if asked.encoding_format == "float":
        return vector
    return base64.b64encode(np.asarray(vector, dtype="<f4").tobytes()).decode()
