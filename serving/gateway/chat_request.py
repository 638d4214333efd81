"""The body of `POST /v1/chat/completions`: OpenAI's parameters that a caller may set, and no other.

What is not listed is refused: the engine's controls (`cache_salt`, `rid`, `priority`, `lora_path`,
...) belong to the platform, and a parameter that would be ignored silently helps nobody.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    field_validator,
    model_validator,
)

from rag.prompt import Message
from serving.gateway.json_body import refusal_of
from serving.gateway.tools import ChosenTool, GivenCalls, Tool, ToolChoice, check_tools

_SAMPLING = (
    "temperature",
    "top_p",
    "stop",
    "seed",
    "presence_penalty",
    "frequency_penalty",
)
# The engine compares each of them at each token, for all tenants in one process.
Stop = Annotated[str, StringConstraints(min_length=1, max_length=200)]
# As in OpenAI's metadata.
Label = Annotated[str, StringConstraints(max_length=512)]
# Greedy: the same answer every time.
_DEFAULT_SAMPLING = {"temperature": 0.0}


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TextPart(_Strict):
    """One part of a message's content. Only text is accepted."""

    type: Literal["text"]
    text: str


class Turn(_Strict):
    """One message."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[TextPart] | None = None
    name: str | None = None
    tool_calls: GivenCalls | None = None
    tool_call_id: str | None = None

    @model_validator(mode="after")
    def _has_what_its_role_has(self) -> Self:
        if self.tool_calls is not None and self.role != "assistant":
            raise ValueError("only an assistant's message has tool_calls")
        if (self.tool_call_id is not None) != (self.role == "tool"):
            raise ValueError("a tool's message has a tool_call_id, and no other one")
        if self.content is None and self.tool_calls is None:
            raise ValueError("the content is missing")
        return self

    def message(self) -> Message:
        """As the prompt wants it: one string, and `developer` as the system it now is called."""
        content = self.content or ""
        text = content if isinstance(content, str) else "\n".join(part.text for part in content)
        calls = tuple(given.call() for given in self.tool_calls or ())
        role = "system" if self.role == "developer" else self.role
        return Message(role, text, calls, self.tool_call_id or "")


class StreamOptions(_Strict):
    """OpenAI's `stream_options`."""

    include_usage: bool = False


class ChatRequest(_Strict):
    """A validated request."""

    model: str
    messages: list[Turn] = Field(min_length=1, max_length=500)
    stream: bool = False
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1, le=1_000_000)
    max_completion_tokens: int | None = Field(None, ge=1, le=1_000_000)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    stop: Stop | Annotated[list[Stop], Field(max_length=16)] | None = None
    seed: int | None = Field(None, ge=0, le=2**31 - 1)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    tools: list[Tool] = []
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    n: Literal[1] = 1
    user: Label | None = None
    metadata: Annotated[dict[Label, Label], Field(max_length=16)] | None = None
    # Bulkhead's own: the answer keeps its placeholders, and brings a token that resolves them.
    placeholders: Literal["restored", "kept"] = "restored"

    @field_validator("messages")
    @classmethod
    def _ends_with_the_user(cls, turns: list[Turn]) -> list[Turn]:
        if turns[-1].role not in ("user", "tool"):
            raise ValueError("the last message must be the user's, or a tool's")
        if all(turn.role != "user" for turn in turns):
            raise ValueError("there is no message of the user")
        return turns

    @field_validator("messages")
    @classmethod
    def _answers_every_call(cls, turns: list[Turn]) -> list[Turn]:
        """As the engine wants it: the results of an answer's calls follow it, each once."""
        open_calls: set[str] = set()
        for turn in turns:
            if turn.role == "tool":
                if turn.tool_call_id not in open_calls:
                    raise ValueError("a tool's message follows the call that it answers")
                open_calls.remove(turn.tool_call_id)
                continue
            if open_calls:
                raise ValueError("a tool call has no tool's message that answers it")
            ids = [call.id for call in turn.tool_calls or ()]
            open_calls = set(ids)
            if len(open_calls) < len(ids):
                raise ValueError("two tool calls have the same id")
        if open_calls:
            raise ValueError("a tool call has no tool's message that answers it")
        return turns

    @property
    def conversation(self) -> str:
        """What tells this conversation from others: `metadata.conversation`, if the caller gives
        one, else its turns up to the first of the user, which every later request repeats."""
        named = (self.metadata or {}).get("conversation")
        if named is not None:
            return f"named {named}"
        first = next(n for n, turn in enumerate(self.messages) if turn.role == "user")
        turns = [turn.message() for turn in self.messages[: first + 1]]
        return "turns " + json.dumps([[turn.role, turn.content] for turn in turns])

    @property
    def offered(self) -> list[Tool]:
        """The tools that the model may call now."""
        if self.tool_choice == "none":
            return []
        if isinstance(self.tool_choice, ChosenTool):
            chosen = self.tool_choice.function.name
            return [tool for tool in self.tools if tool.function.name == chosen]
        return self.tools

    @property
    def tool_controls(self) -> dict[str, Any]:
        """How the engine is to offer them."""
        choice = self.tool_choice
        named = choice.model_dump() if isinstance(choice, ChosenTool) else choice
        given = {"tool_choice": named, "parallel_tool_calls": self.parallel_tool_calls}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def sampling(self) -> dict[str, Any]:
        """The sampling parameters for the engine, defaults filled in."""
        given = {name: getattr(self, name) for name in _SAMPLING}
        return _DEFAULT_SAMPLING | {name: v for name, v in given.items() if v is not None}

    @property
    def output_limit(self) -> int | None:
        """How many tokens the caller wants at most, if it says so."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def substance(self) -> bytes:
        """What an engine is asked by it: the same bytes each time that the same is asked."""
        return self.model_dump_json(
            exclude={"stream", "stream_options", "user", "metadata", "placeholders"}
        ).encode()

    @property
    def wants_usage(self) -> bool:
        """Whether a stream ends with a usage chunk."""
        return self.stream_options is not None and self.stream_options.include_usage


def parse_chat_request(body: bytes) -> ChatRequest:
    """The request in `body`.

    Raises:
        ParameterNotAllowedError: it names a parameter that is not listed.
        ToolLimitError, InvalidToolError: its tools are too many, too long, or not usable.
        InvalidRequestError: anything else is wrong; the message never quotes the body.
    """
    try:
        request = ChatRequest.model_validate_json(body)
    except ValidationError as error:
        raise refusal_of(error) from None
    check_tools(request.tools, request.tool_choice)
    return request
