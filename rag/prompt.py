"""From a conversation and its passages to the prompt.

What repeats stands before what changes: system text, earlier turns, the new question, and only then
the passages, so that a conversation's next turn finds its prefix in the cache.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from isolation.context import TenantContext, require_same_tenant
from rag.budget import within_budget
from rag.documents import Passage

Role = Literal["system", "user", "assistant", "tool"]

SYSTEM_TEXT = (
    "You are a customer support assistant of an online shop. Answer the customer's question in one "
    "or two short sentences, using only facts from the numbered sources. "
    "Copy numbers, names and codes exactly. If the sources do not say it, say that you do not know."
)
_MARK = re.compile(r"\[(\d{1,2})\]")


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call that an answer asked for. arguments: a JSON object, as text."""

    id: str
    name: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation. calls: of an assistant. answers: the id of the call whose result
    a turn of a tool is."""

    role: Role
    content: str
    calls: tuple[ToolCall, ...] = ()
    answers: str = ""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What goes to the engine, and the passages in it: source [n] is `sources[n - 1]`."""

    messages: list[Message]
    sources: list[Passage]


def assemble(
    ctx: TenantContext,
    conversation: Sequence[Message],
    passages: Sequence[Passage],
    *,
    token_budget: int,
    count_tokens: Callable[[str], int],
    system: Sequence[str] = (),
) -> Prompt:
    """The prompt for the last user turn of `conversation`, and the calls that followed it.

    system: more for the system text.

    Passages enter best first as they fit in `token_budget` tokens of the engine's model.

    Clients resend their own turns and the answers, and not the passages. So the next prompt of a
    conversation begins as this one, up to the end of this one's question: nothing that changes
    from turn to turn stands before it. A system turn that is added later moves to the top, and
    begins another prefix.

    Raises:
        CrossTenantError: a passage is not this tenant's.
    """
    for passage in passages:
        require_same_tenant(ctx, passage.tenant_id, "the prompt")
    sources = fitting(passages, token_budget=token_budget, count_tokens=count_tokens)
    texts = [source.text for source in sources]
    return Prompt(lay_out(conversation, texts, system=system), sources)


def fitting(
    passages: Sequence[Passage], *, token_budget: int, count_tokens: Callable[[str], int]
) -> list[Passage]:
    """The passages that enter a prompt as sources, best first."""
    return within_budget(passages, token_budget, lambda n, text: count_tokens(_source(n, text)))


def lay_out(
    conversation: Sequence[Message], sources: Sequence[str], *, system: Sequence[str] = ()
) -> list[Message]:
    """The prompt's messages, as the model sees them; an adapter is trained on nothing else."""
    *earlier, question = up_to_question(conversation)
    own_system = [turn.content for turn in conversation if turn.role == "system"]
    return [
        system_turn([*own_system, *system]),
        *(turn for turn in earlier if turn.role != "system"),
        Message("user", _with_sources(question.content, sources)),
        *(turn for turn in conversation[len(earlier) + 1 :] if turn.role != "system"),
    ]


def system_turn(texts: Sequence[str]) -> Message:
    """The turn with which every prompt begins: our text, and what else it is to say."""
    return Message("system", "\n\n".join([SYSTEM_TEXT, *texts]))


def up_to_question(conversation: Sequence[Message]) -> Sequence[Message]:
    """The conversation without what followed the last turn of the user: calls and their results."""
    last = max(n for n, turn in enumerate(conversation) if turn.role == "user")
    return conversation[: last + 1]


def marked_sources(answer: str, sources: Sequence[Passage]) -> set[int]:
    """Which sources the answer marks as `[n]`, as indexes into `sources`."""
    numbers = {int(number) for number in _MARK.findall(answer)}
    return {number - 1 for number in numbers if 1 <= number <= len(sources)}


def _source(number: int, text: str) -> str:
    return f"[{number}] {text}"


def _with_sources(question: str, sources: Sequence[str]) -> str:
    if not sources:
        return question
    # The best one last and the question once more: a small model reads what stands nearest.
    numbered = [_source(number, text) for number, text in enumerate(sources, 1)]
    listed = "\n\n".join(reversed(numbered))
    return (
        f"{question}\n\nSources:\n\n{listed}\n\n"
        f"Answer the customer's question with a full sentence from the sources. {question}"
    )
