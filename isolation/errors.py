"""The error tree.

    BulkheadError                      every refusal; `code` is stable, `message` is safe to show
    ├── IsolationError                 a boundary held; never expected in honest operation
    │   ├── CrossTenantError           two values of different tenants met
    │   └── UnmintedContextError       something that is not a minted context was offered as one
    ├── InvalidTenantIdError
    ├── AuthenticatorFailedError       an application's own authenticator broke
    └── RequestRefusedError            a caller's request is refused; carries an HTTP status
        ├── InvalidApiKeyError         401
        ├── InvalidCredentialError     401, of an application's own
        ├── TenantSuspendedError       403
        ├── RestrictedKeyError         403
        ├── ParameterNotAllowedError   400
        ├── ContentBlockedError        400
        ├── AnswerBlockedError         403
        └── InvalidRequestError        400

Other packages hang their own errors under `BulkheadError` or `RequestRefusedError`. A message
never holds a prompt, a document, a key, or anything of another tenant.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class BulkheadError(Exception):
    """Base of all errors that Bulkhead raises on purpose.

    `code` is part of the public interface: programs match on it, so it never changes.
    """

    code: ClassVar[str] = "bulkhead_error"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class IsolationError(BulkheadError):
    """A tenant boundary stopped something."""

    code = "isolation_violation"


class CrossTenantError(IsolationError):
    """A value of one tenant reached a place bound to another. The message names neither."""

    code = "cross_tenant"

    def __init__(self, where: str) -> None:
        super().__init__(f"a value of another tenant reached {where}; it was stopped there")


class UnmintedContextError(IsolationError):
    """Something offered as a context was not minted by an authenticator."""

    code = "unminted_context"

    def __init__(self, where: str) -> None:
        super().__init__(f"{where} needs a TenantContext minted by an authenticator")


class InvalidTenantIdError(BulkheadError):
    """A tenant id that does not match `isolation.tenant_id.PATTERN`."""

    code = "invalid_tenant_id"
    status: ClassVar[int] = 400


class RequestRefusedError(BulkheadError):
    """A caller's request is refused: `status` is HTTP's, `headers` go with the answer."""

    code = "request_refused"
    status: ClassVar[int] = 400
    kind: ClassVar[str] = "invalid_request_error"

    def __init__(
        self, message: str, *, param: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.param = param
        self.headers = headers or {}


class InvalidApiKeyError(RequestRefusedError):
    """Unknown, malformed, revoked or expired: one answer, so that keys cannot be enumerated."""

    code = "invalid_api_key"
    status = 401
    kind = "authentication_error"

    def __init__(self) -> None:
        super().__init__(
            "The API key is not valid. Send it as 'Authorization: Bearer bk_...'; "
            "your platform's operator issues keys with 'bulkhead key issue TENANT'.",
            headers={"WWW-Authenticate": "Bearer"},
        )


class AuthenticatorFailedError(BulkheadError):
    """An application's own authenticator raised, or answered with something that is no identity.

    Nobody is let in, and what it raised is not repeated: it may hold the credential.
    """

    code = "authenticator_failed"

    def __init__(self) -> None:
        super().__init__("The authenticator failed. It returns an Identity, or None to refuse.")


class InvalidCredentialError(RequestRefusedError):
    """The application's own authenticator does not know the credential."""

    code = "invalid_credential"
    status = 401
    kind = "authentication_error"

    def __init__(self) -> None:
        super().__init__("The credential is not valid.")


class TenantSuspendedError(RequestRefusedError):
    """The key is valid, but its tenant is suspended."""

    code = "tenant_suspended"
    status = 403
    kind = "permission_error"

    def __init__(self) -> None:
        super().__init__("This tenant is suspended. Ask your platform's operator.")


class RestrictedKeyError(RequestRefusedError):
    """The key is restricted to groups, and reads only."""

    code = "restricted_key"
    status = 403
    kind = "permission_error"

    def __init__(self) -> None:
        super().__init__(
            "This key is restricted to groups and reads only. Use an unrestricted one."
        )


class ParameterNotAllowedError(RequestRefusedError):
    """The caller named a parameter that only the platform may set."""

    code = "parameter_not_allowed"

    def __init__(self, param: str) -> None:
        super().__init__(
            f"The parameter {param!r} is set by the platform and not by callers. Remove it.",
            param=param,
        )


class ContentBlockedError(RequestRefusedError):
    """The tenant's masking policy does not let a kind of personal data pass."""

    code = "content_blocked"

    def __init__(self, kinds: Sequence[str]) -> None:
        super().__init__(
            f"The message holds what must not be sent here ({', '.join(kinds)}). "
            "Remove it and send the message again.",
            param="messages",
        )


class AnswerBlockedError(RequestRefusedError):
    """The answer held personal data that was in nothing the request was given, of a kind that ends
    an answer by the tenant's masking policy. A stream that has begun ends with this error."""

    code = "answer_blocked"
    status = 403

    def __init__(self, kind: str) -> None:
        super().__init__(
            f"The answer held what must not leave ({kind}), and was ended. "
            "Ask again, or in other words."
        )


class InvalidRequestError(RequestRefusedError):
    """The request is malformed; the message says which part, never its content."""

    code = "invalid_request"
