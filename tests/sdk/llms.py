"""Language models that say what they were told to, and remember what they were asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ChatResponseAsyncGen,
    CompletionResponse,
    CompletionResponseGen,
    LLMMetadata,
    MessageRole,
)
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.llms import CustomLLM
from llama_index.core.llms.callbacks import llm_completion_callback
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.llms.llm import ToolSelection


class EchoingLLM(CustomLLM):
    """Answers with its whole prompt, so that whatever reached it is seen; or by its script: each
    part of it makes an answer of a prompt."""

    _script: list[Callable[[str], str]] = PrivateAttr(default_factory=list)
    _prompts: list[str] = PrivateAttr(default_factory=list)

    def __init__(self, script: Sequence[Callable[[str], str]] = ()) -> None:
        super().__init__()
        self._script = list(script)

    @property
    def prompts(self) -> list[str]:
        return self._prompts

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(context_window=8_000, num_output=256)

    @llm_completion_callback()
    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        self._prompts.append(prompt)
        return CompletionResponse(text=self._script.pop(0)(prompt) if self._script else prompt)

    @llm_completion_callback()
    def stream_complete(
        self, prompt: str, formatted: bool = False, **kwargs: Any
    ) -> CompletionResponseGen:
        text = self.complete(prompt).text

        def words() -> CompletionResponseGen:
            said = ""
            for word in text.split(" "):
                said += word + " "
                yield CompletionResponse(text=said, delta=word + " ")

        return words()


class CallingLLM(FunctionCallingLLM):
    """Calls its one tool with these arguments, then repeats what came back."""

    _arguments: dict[str, Any] = PrivateAttr()
    _tools: list[dict[str, Any]] = PrivateAttr(default_factory=list)

    def __init__(self, **arguments: Any) -> None:
        super().__init__()
        self._arguments = arguments

    @property
    def offered(self) -> list[dict[str, Any]]:
        """The tools' schemas, as a model is shown them."""
        return self._tools

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(context_window=8_000, is_chat_model=True, is_function_calling_model=True)

    def _prepare_chat_with_tools(
        self, tools: Any, user_msg: Any = None, chat_history: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        self._tools = [tool.metadata.get_parameters_dict() for tool in tools]
        names = [tool.metadata.get_name() for tool in tools]
        return {"messages": list(chat_history or []), "names": names}

    def _answer(self, messages: Sequence[ChatMessage], names: Sequence[str]) -> ChatResponse:
        last = messages[-1]
        if last.role == MessageRole.TOOL:
            said = ChatMessage(role=MessageRole.ASSISTANT, content=str(last.content))
            return ChatResponse(message=said, delta=said.content)
        call = ToolSelection(tool_id="1", tool_name=names[0], tool_kwargs=self._arguments)
        said = ChatMessage(role=MessageRole.ASSISTANT, content="")
        return ChatResponse(message=said, delta="", additional_kwargs={"calls": [call]})

    def get_tool_calls_from_response(self, response: Any, **kwargs: Any) -> list[ToolSelection]:
        calls: list[ToolSelection] = response.additional_kwargs.get("calls", [])
        return calls

    def chat(self, messages: Any, **kwargs: Any) -> ChatResponse:
        return self._answer(messages, kwargs.get("names", []))

    async def achat(self, messages: Any, **kwargs: Any) -> ChatResponse:
        return self.chat(messages, **kwargs)

    async def astream_chat(self, messages: Any, **kwargs: Any) -> ChatResponseAsyncGen:
        async def one() -> ChatResponseAsyncGen:
            yield self.chat(messages, **kwargs)

        return one()

    def stream_chat(self, messages: Any, **kwargs: Any) -> Any:
        return iter([self.chat(messages, **kwargs)])

    def complete(self, prompt: Any, formatted: bool = False, **kwargs: Any) -> Any:
        raise NotImplementedError

    async def acomplete(self, prompt: Any, formatted: bool = False, **kwargs: Any) -> Any:
        raise NotImplementedError

    def stream_complete(self, prompt: Any, formatted: bool = False, **kwargs: Any) -> Any:
        raise NotImplementedError

    async def astream_complete(self, prompt: Any, formatted: bool = False, **kwargs: Any) -> Any:
        raise NotImplementedError
