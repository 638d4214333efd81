"""What the chat service yields: that the request is let in, text and tool calls, then one end with
citations and usage."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from isolation.masking.conversations import Conversation
from rag.documents import Passage
from rag.prompt import marked_sources
from serving.engine.client import TokenUsage


@dataclass(frozen=True, slots=True)
class Citation:
    """A passage that the answer was allowed to use. `cited`: the answer marks it."""

    document_id: str
    title: str
    quote: str
    cited: bool


@dataclass(frozen=True, slots=True)
class AnswerAdmitted:
    """The request is let in: first of all parts. headers: how its tenant stands since."""

    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class AnswerText:
    """A piece of the answer, unmasked and guarded."""

    text: str


@dataclass(frozen=True, slots=True)
class AnswerCall:
    """A piece of a tool call, unmasked and guarded. `id` and `name`: in the first piece of one.

    index: which of the answer's calls.
    """

    index: int
    arguments: str
    id: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class AnswerEnd:
    """The end of an answer. `conversation`: of one whose placeholders were kept."""

    finish_reason: str
    citations: list[Citation]
    usage: TokenUsage
    conversation: Conversation | None = None


AnswerPiece = AnswerText | AnswerCall
AnswerPart = AnswerAdmitted | AnswerPiece | AnswerEnd


def cite(sources: Sequence[Passage], answer: str, clean: Callable[[str], str]) -> list[Citation]:
    """The answer's citations, best first; quotes are guarded like the answer itself."""
    marked = marked_sources(answer, sources)
    return [
        Citation(
            document_id=source.document_id,
            title=clean(source.title),
            quote=clean(source.text),
            cited=index in marked,
        )
        for index, source in enumerate(sources)
    ]
