"""Steps 2 to 5 of a chat: from a validated request to what the engine is asked, or to a refusal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from isolation.context import TenantContext
from isolation.errors import InvalidRequestError
from isolation.masking.unmasked import unmasked
from rag.documents import Passage
from rag.prompt import Message, assemble, up_to_question
from rag.retrieval.follow_up import Question, question_of
from rag.retrieval.small_talk import is_small_talk
from serving.engine.client import Job
from serving.errors import ToolsNotSupportedError
from serving.gateway.chat_parts import ChatOptions, ChatParts
from serving.gateway.chat_request import ChatRequest
from serving.gateway.masked_chat import MaskedChat, masked_chat
from serving.gateway.model_choice import ModelChoice
from serving.gateway.ports import Hold
from serving.gateway.privacy_ports import Vault
from serving.gateway.prompt_form import PromptForm
from serving.gateway.tool_words import Tools
from serving.gateway.tools import check_tools
from serving.metering.meter import Meter


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request that is ready to queue."""

    job: Job
    prompt_tokens: int
    sources: list[Passage]
    vault: Vault
    keeps_placeholders: bool


class Preparing:
    """Prepares one tenant's requests."""

    def __init__(self, ctx: TenantContext, parts: ChatParts, options: ChatOptions) -> None:
        self._ctx = ctx
        self._parts = parts
        self._options = options
        self._counting = parts.counting.of(ctx)

    async def prepare(
        self, request: ChatRequest, model: ModelChoice, meter: Meter, hold: Hold
    ) -> Prepared | str:
        """What to generate, or what to say without generating.

        hold: takes what the request may need, before anything is done for it.

        Raises:
            RequestRefusedError: it is refused.
        """
        if request.placeholders == "kept" and self._parts.masker is None:
            raise InvalidRequestError("Nothing is masked here.", param="placeholders")
        conversation = [turn.message() for turn in request.messages]
        tools = self._offered(request)
        form = PromptForm(self._parts.tokens(), tools)
        limit = self._limit(request)
        # Before any work: what the turn would need with a full set of passages.
        wanted = [*conversation, *(Message("system", text) for text in form.system)]
        beside = self._passage_tokens + limit
        await hold.reserve(await self._count(form, wanted, beside) + beside)
        # The original text: the search stays inside the gateway, and a placeholder finds nothing.
        question = question_of(up_to_question(conversation))
        talk = self._parts.retriever is None or is_small_talk(question.text)
        passages = [] if talk else await self._retrieve(question, meter)
        # What no document holds, a tool may know, or has told already.
        asks_tools = bool(tools) or conversation[-1].role == "tool"
        if not talk and not asks_tools and (said := self._refused(question, passages)):
            return said
        model.prefetch()
        shown = await self._compressed(question, passages, model, meter)
        with meter.step("masking") as step:
            step.note(texts=len(conversation), passages=len(shown))
            chat = await self._masked(conversation, shown, tools)
        return await self._assembled(request, chat, passages, meter, hold)

    def _offered(self, request: ChatRequest) -> Tools:
        if request.tools and not self._options.tools:
            raise ToolsNotSupportedError
        if request.tools and self._options.strict_tools:
            check_tools(request.tools, request.tool_choice, all_strict=True)
        return [tool.as_dict() for tool in request.offered]

    async def _count(self, form: PromptForm, messages: Sequence[Message], beside: int) -> int:
        return await self._counting.checked(form.rendered(messages), self._parts.tokens(), beside)

    def _limit(self, request: ChatRequest) -> int:
        return request.output_limit or self._options.default_max_tokens

    @property
    def _passage_tokens(self) -> int:
        return self._options.passage_tokens if self._parts.retriever else 0

    async def _masked(
        self, conversation: list[Message], passages: list[Passage], tools: Tools
    ) -> MaskedChat:
        if self._parts.masker is None:
            vault = unmasked(self._ctx, await self._parts.policies.of(self._ctx))
            return MaskedChat(conversation, passages, tools, vault)
        return await masked_chat(self._parts.masker, self._ctx, conversation, passages, tools)

    async def _assembled(
        self,
        request: ChatRequest,
        chat: MaskedChat,
        passages: list[Passage],
        meter: Meter,
        hold: Hold,
    ) -> Prepared:
        tokens = self._parts.tokens()
        form = PromptForm(tokens, chat.tools)
        prompt = await self._counting.turn(
            sum(len(passage.text) for passage in chat.passages),
            lambda: assemble(
                self._ctx,
                chat.conversation,
                chat.passages,
                token_budget=self._passage_tokens,
                count_tokens=tokens.count,
                system=form.system,
            ),
        )
        prompt_tokens = await self._count(form, prompt.messages, self._limit(request))
        # Masking may have made it longer than it was.
        await hold.reserve(prompt_tokens + self._limit(request))
        meter.prepared(prompt_tokens, len(prompt.sources))
        kept = request.placeholders == "kept"
        # What the customer is shown of a source is the source, not what the engine saw of it.
        sources = _originals(prompt.sources, chat.passages if kept else passages)
        job = self._job(request, form.messages(prompt.messages), chat.tools, meter)
        return Prepared(job, prompt_tokens, sources, chat.vault, kept)

    async def _retrieve(self, question: Question, meter: Meter) -> list[Passage]:
        if self._parts.retriever is None:
            return []
        with meter.step("retrieval") as step:
            mine = self._parts.retriever.of(self._ctx)
            found = await mine.search(question, limit=self._options.top_k)
            step.note(passages=len(found))
        return found

    async def _compressed(
        self, question: Question, passages: list[Passage], model: ModelChoice, meter: Meter
    ) -> list[Passage]:
        """What a model sees of the passages. The refusal saw them whole, and a customer does.

        An adapter has learned from sentences; the base model reads whole passages better.
        """
        if self._parts.compressor is None or model.record is None or not passages:
            return passages
        with meter.step("compression") as step:
            shown = await self._parts.compressor.of(self._ctx).compress(question, passages)
            step.note(passages=len(shown))
        return shown

    def _refused(self, question: Question, passages: list[Passage]) -> str | None:
        refusal = self._parts.refusal
        return None if refusal is None else refusal.of(self._ctx, question, passages)

    def _job(
        self,
        request: ChatRequest,
        messages: list[dict[str, Any]],
        tools: Tools,
        meter: Meter,
    ) -> Job:
        return Job(
            request_id=meter.request_id,
            messages=messages,
            max_tokens=self._limit(request),
            sampling=request.sampling,
            tools=tools,
            tool_controls=request.tool_controls if tools else {},
        )


def _originals(sources: list[Passage], passages: list[Passage]) -> list[Passage]:
    """The passages that the prompt's sources were, before compression, masking and cutting."""
    found = {_place(passage): passage for passage in passages}
    return [found[_place(source)] for source in sources]


def _place(passage: Passage) -> tuple[str, str, int]:
    return passage.document_id, passage.version, passage.ordinal
