"""The error tree of `serving.adapters`.

RequestRefusedError
├── AdapterRefusedError               400, an upload is refused; nothing of it was stored
│   ├── AdapterNameError              adapter_name_invalid
│   ├── AdapterFilesError             adapter_files_invalid: another file, a path, one missing
│   ├── AdapterConfigError            adapter_config_invalid
│   ├── AdapterBaseError              adapter_base_mismatch
│   ├── AdapterRankError              adapter_rank_not_supported
│   ├── AdapterModulesError           adapter_modules_not_supported
│   ├── AdapterFormatError            adapter_not_safetensors: pickle, truncated, overlapping, ...
│   ├── AdapterDtypeError             adapter_dtype_not_supported
│   ├── AdapterShapeError             adapter_shape_mismatch
│   └── AdapterNotFiniteError         adapter_not_finite: NaN or infinity
├── AdapterTooLargeError              413, adapter_too_large
├── AdapterLimitError                 409, adapter_limit_exceeded
├── AdapterNotFoundError              404, unknown or another tenant's: one answer
└── AdapterUnavailableError           503, with Retry-After
    └── AdapterPlacesTakenError       the same to callers: others have the engine's places

BulkheadError
└── AdapterTamperedError              what the store holds is not what was uploaded
"""

from __future__ import annotations

from isolation.errors import BulkheadError, RequestRefusedError


class AdapterRefusedError(RequestRefusedError):
    """An upload is refused. The message says why, and quotes no more than names of the format."""

    code = "adapter_refused"


class AdapterNameError(AdapterRefusedError):
    """The name is not one that an adapter may have."""

    code = "adapter_name_invalid"

    def __init__(self) -> None:
        super().__init__(
            "An adapter's name has 1 to 63 of a-z, 0-9 and inner hyphens, and is not 'base'.",
            param="name",
        )


class AdapterFilesError(AdapterRefusedError):
    """Not exactly the two files of a PEFT adapter."""

    code = "adapter_files_invalid"


class AdapterConfigError(AdapterRefusedError):
    """`adapter_config.json` is not a plain LoRA's."""

    code = "adapter_config_invalid"


class AdapterBaseError(AdapterRefusedError):
    """The adapter was made for another base model."""

    code = "adapter_base_mismatch"


class AdapterRankError(AdapterRefusedError):
    """The engine has no room for this rank."""

    code = "adapter_rank_not_supported"


class AdapterModulesError(AdapterRefusedError):
    """The target modules are not ones that the engine adapts."""

    code = "adapter_modules_not_supported"


class AdapterFormatError(AdapterRefusedError):
    """`adapter_model.safetensors` is not a whole safetensors file."""

    code = "adapter_not_safetensors"


class AdapterDtypeError(AdapterRefusedError):
    """The weights' type is not one of `DTYPES`, or they have several."""

    code = "adapter_dtype_not_supported"


class AdapterShapeError(AdapterRefusedError):
    """The tensors are not those that configuration and base model ask for."""

    code = "adapter_shape_mismatch"


class AdapterNotFiniteError(AdapterRefusedError):
    """A weight is NaN or infinite."""

    code = "adapter_not_finite"


class AdapterTooLargeError(RequestRefusedError):
    """The upload has more bytes than are accepted."""

    code = "adapter_too_large"
    status = 413

    def __init__(self, limit: int) -> None:
        super().__init__(f"An adapter's files have at most {limit} bytes. Use a lower rank.")


class AdapterLimitError(RequestRefusedError):
    """The tenant keeps as many versions as it may."""

    code = "adapter_limit_exceeded"
    status = 409

    def __init__(self, limit: int) -> None:
        super().__init__(f"You keep {limit} adapter versions already. Delete one first.")


class AdapterNotFoundError(RequestRefusedError):
    """Unknown, or another tenant's: one answer."""

    code = "adapter_not_found"
    status = 404

    def __init__(self) -> None:
        super().__init__("There is no such adapter. List yours with GET /v1/adapters.")


class AdapterUnavailableError(RequestRefusedError):
    """The adapter cannot answer at the moment."""

    code = "adapter_unavailable"
    status = 503
    kind = "server_error"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(
            message or "The adapter cannot be loaded at the moment. Try again shortly.",
            headers={"Retry-After": "2"},
        )


class AdapterPlacesTakenError(AdapterUnavailableError):
    """No place came free, or no load ended, in the time that the request had. It says nothing of
    the adapter, and a rollout counts it for no version."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or "All places for adapters are taken. Try again shortly.")


class AdapterTamperedError(BulkheadError):
    """A signature, a checksum or a seal does not hold: the adapter is not loaded."""

    code = "adapter_tampered"

    def __init__(self) -> None:
        super().__init__("What the store holds is not what was uploaded; it is not loaded.")
