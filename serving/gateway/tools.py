"""Tools in a chat request, in OpenAI's shapes: what is offered, what is to be and was called."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, field_validator

from rag.prompt import ToolCall
from serving.errors import InvalidToolError, ToolLimitError
from serving.gateway.tool_schema import check_cost, check_schema

MOST_TOOLS, MOST_TOOL_BYTES = 64, 65_536
_MOST_CALLS = 64

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Function(_Strict):
    """What a tool is called and takes. `strict`: the engine holds the model to the schema."""

    name: Name
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class Tool(_Strict):
    """A tool that is offered to the model."""

    type: Literal["function"]
    function: Function

    def as_dict(self) -> dict[str, Any]:
        """In OpenAI's shape, with what was given."""
        return self.model_dump(exclude_none=True)


class ChosenName(_Strict):
    """The function that is to be called."""

    name: Name


class ChosenTool(_Strict):
    """OpenAI's `tool_choice` that names a function."""

    type: Literal["function"]
    function: ChosenName


ToolChoice = Literal["none", "auto", "required"] | ChosenTool


class CalledFunction(_Strict):
    """`arguments`: a JSON object, as text."""

    name: Name
    arguments: str

    @field_validator("arguments")
    @classmethod
    def _an_object(cls, arguments: str) -> str:
        try:
            given = json.loads(arguments)
        except (ValueError, RecursionError):
            given = None
        if not isinstance(given, dict):
            raise ValueError("the arguments must be a JSON object")
        return arguments


class GivenCall(_Strict):
    """A tool call of an earlier answer."""

    id: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    type: Literal["function"]
    function: CalledFunction

    def call(self) -> ToolCall:
        """As the prompt wants it."""
        return ToolCall(self.id, self.function.name, self.function.arguments)


GivenCalls = Annotated[list[GivenCall], Field(min_length=1, max_length=_MOST_CALLS)]


def check_tools(
    tools: Sequence[Tool], choice: ToolChoice | None, *, all_strict: bool = False
) -> None:
    """Refuse what is too large, or means nothing. all_strict: as if each tool were.

    Raises:
        ToolLimitError: too many tools, or too long ones.
        InvalidToolError: two of one name, a schema that is none, or a choice that is not offered.
    """
    if len(tools) > MOST_TOOLS:
        raise ToolLimitError(f"At most {MOST_TOOLS} tools may be offered at once.")
    size = len(json.dumps([tool.as_dict() for tool in tools]))
    if size > MOST_TOOL_BYTES:
        raise ToolLimitError(f"All tools together may have {MOST_TOOL_BYTES} bytes of JSON.")
    names = [tool.function.name for tool in tools]
    if len(set(names)) < len(names):
        raise InvalidToolError("Two tools have the same name.", "tools")
    for number, tool in enumerate(tools):
        where = f"tools.{number}.function.parameters"
        strict = all_strict or bool(tool.function.strict)
        check_schema(tool.function.parameters or {}, where, strict=strict)
    compiled = [tool for tool in tools if all_strict or tool.function.strict]
    check_cost([tool.function.parameters or {} for tool in compiled])
    if not tools and choice not in (None, "none"):
        raise InvalidToolError("There is no tool to choose: none is offered.", "tool_choice")
    if isinstance(choice, ChosenTool) and choice.function.name not in names:
        raise InvalidToolError("The tool that is chosen is not offered.", "tool_choice")
