"""The error tree of `serving`: refusals of the tenant-side API, each with its code and status.

RequestRefusedError
├── ModelNotFoundError           404, unknown or another tenant's: one answer
├── ContextLimitError            400
├── PayloadTooLargeError         413
├── ToolsNotSupportedError       400
├── ToolLimitError               400
├── InvalidToolError             400
├── KvBudgetExceededError        429
├── ConcurrencyLimitError        429, with Retry-After
├── RequestRateError             429, with Retry-After and x-ratelimit-*
├── TokenRateError               429, the same
├── QuotaExhaustedError          429, the same
├── OverloadedError              503, with Retry-After
├── DeadlineExceededError        504
├── RequestQuarantinedError      422
└── EngineUnavailableError       503, with Retry-After
    └── EngineBrokeOffError      the same, of a request that the engine had

BulkheadError
├── PublicPrefixRefusedError     400, to the operator
└── StartupError                 the platform refuses to start; the message says the way out
    ├── EngineRefusedError       an engine lacks a property that isolation relies on
    └── DataFolderInUseError     another gateway owns the data folder
"""

from __future__ import annotations

from typing import ClassVar

from isolation.errors import BulkheadError, RequestRefusedError


class ModelNotFoundError(RequestRefusedError):
    """Unknown model, another tenant's adapter, or `base:adapter`: one answer for all."""

    code = "model_not_found"
    status = 404

    def __init__(self) -> None:
        super().__init__("There is no such model. List yours with GET /v1/models.", param="model")


class ContextLimitError(RequestRefusedError):
    """Prompt, passages and maximum output together exceed the tier's context cap."""

    code = "context_limit_exceeded"

    def __init__(self, needed: int, limit: int) -> None:
        super().__init__(
            f"The request needs at least {needed} tokens of context and your tier allows {limit}. "
            "Shorten the conversation or lower max_tokens.",
            param="messages",
        )


class PayloadTooLargeError(RequestRefusedError):
    """The body is larger than the route accepts."""

    code = "payload_too_large"
    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"The body is larger than {limit} bytes. Split it.")


class ToolsNotSupportedError(RequestRefusedError):
    """The engine runs without a parser of tool calls."""

    code = "tools_not_supported"

    def __init__(self) -> None:
        super().__init__(
            "Tools are not supported here. Your platform's operator switches them on with "
            "BULKHEAD_ENGINE_TOOL_PARSER.",
            param="tools",
        )


class ToolLimitError(RequestRefusedError):
    """Too many tools in one request, or too long ones."""

    code = "tool_limit_exceeded"

    def __init__(self, message: str) -> None:
        super().__init__(f"{message} Offer fewer, or describe them more shortly.", param="tools")


class InvalidToolError(RequestRefusedError):
    """A tool that cannot be offered, or a choice that is not there. It quotes nothing of a tool."""

    code = "invalid_tool"

    def __init__(self, message: str, param: str) -> None:
        super().__init__(message, param=param)


class KvBudgetExceededError(RequestRefusedError):
    """The request needs more KV than the engine can ever give the tenant beside others'
    reservations. Waiting does not help, so there is no Retry-After, and OpenAI's clients are told
    not to try again."""

    code = "kv_budget_exceeded"
    status = 429
    kind = "rate_limit_error"

    def __init__(self) -> None:
        super().__init__(
            "The request needs more of the engine's memory than your tenant may hold. "
            "Shorten the conversation or lower max_tokens.",
            param="messages",
            headers={"x-should-retry": "false"},
        )


class ConcurrencyLimitError(RequestRefusedError):
    """The tenant already has as many requests in flight as its tier allows."""

    code = "concurrency_limit_exceeded"
    status = 429
    kind = "rate_limit_error"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(
            message or "Too many requests of yours are in flight. Wait for one to finish.",
            headers={"Retry-After": "1"},
        )


class RequestRateError(RequestRefusedError):
    """The tenant has asked as often in this minute as it may."""

    code = "rate_limit_requests"
    status = 429
    kind = "rate_limit_error"

    def __init__(self, headers: dict[str, str]) -> None:
        super().__init__(
            "You have asked as often in this minute as you may. Wait as Retry-After says.",
            headers=headers,
        )


class TokenRateError(RequestRefusedError):
    """Prompt and largest answer together would exceed the tenant's tokens of this minute."""

    code = "rate_limit_tokens"
    status = 429
    kind = "rate_limit_error"

    def __init__(self, needed: int, headers: dict[str, str]) -> None:
        super().__init__(
            f"The request may need {needed} tokens, more than are left to you in this minute. "
            "Wait as Retry-After says, shorten the conversation or lower max_tokens.",
            headers=headers,
        )


class QuotaExhaustedError(RequestRefusedError):
    """Prompt and largest answer together would exceed the tenant's tokens of this month."""

    code = "quota_exhausted"
    status = 429
    kind = "insufficient_quota"

    def __init__(self, needed: int, headers: dict[str, str]) -> None:
        super().__init__(
            f"The request may need {needed} tokens, more than are left to you in this month. "
            "Lower max_tokens, or ask your platform's operator for more.",
            headers=headers,
        )


class OverloadedError(RequestRefusedError):
    """Too much work is waiting; this request was not taken."""

    code = "overloaded"
    status = 503
    kind = "server_error"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(
            message or "Too much work is waiting. Try again shortly.",
            headers={"Retry-After": "2"},
        )


class DeadlineExceededError(RequestRefusedError):
    """The request waited longer than it may."""

    code = "deadline_exceeded"
    status = 504
    kind = "server_error"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or "The request waited too long. Try again later.")


class EngineUnavailableError(RequestRefusedError):
    """No healthy engine worker answers."""

    code = "engine_unavailable"
    status = 503
    kind = "server_error"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(
            message or "The engine is not ready. Try again shortly; /readyz says when.",
            headers={"Retry-After": "5"},
        )


class EngineBrokeOffError(EngineUnavailableError):
    """The engine went away with the request, or while it waited for it."""

    def __init__(self) -> None:
        super().__init__("The engine broke off. Try again.")


class RequestQuarantinedError(RequestRefusedError):
    """The engine died again and again while it had this request: it gets it no more."""

    code = "request_quarantined"
    status = 422

    def __init__(self, dead_letter: str) -> None:
        super().__init__(
            "The engine failed each time that it had this request, so it is not tried again. "
            f"Change it, or tell your platform's operator the dead letter {dead_letter}.",
            param="messages",
            headers={"x-should-retry": "false"},
        )


class PublicPrefixRefusedError(BulkheadError):
    """What the operator wants to share does not fit the engine, or not the model. The message
    holds nothing of its text."""

    code = "public_prefix_refused"
    status: ClassVar[int] = 400


class StartupError(BulkheadError):
    """The platform refuses to start. The message is one line with the way out."""

    code = "startup_failed"


class EngineRefusedError(StartupError):
    """An engine lacks a property that isolation relies on, so nothing is served through it."""

    code = "engine_refused"


class DataFolderInUseError(StartupError):
    """Another gateway owns the data folder."""

    code = "data_folder_in_use"
