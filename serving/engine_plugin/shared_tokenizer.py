"""On a CPU, SGLang's processes have the tokenizer from the first one, of which they are forks.

SGLang loads it four times for one worker, which takes a second each time. It is only read.
"""

from __future__ import annotations

from typing import Any

from serving.engine_plugin import hooks

_LOADER = "sglang.srt.utils.hf_transformers.tokenizer.get_tokenizer"
_loaded: dict[str, Any] = {}


def register() -> None:
    """Register the hook.

    Raises:
        MissingTargetError: this SGLang lacks the place.
    """
    hooks.around(_LOADER, ("tokenizer_name",), once)


def load(server_args: Any) -> None:
    """Load it as each of SGLang's processes is going to."""
    if not server_args.skip_tokenizer_init:
        # Here: SGLang is loaded by now, and its function is hooked.
        from sglang.srt.utils.hf_transformers import tokenizer

        tokenizer.get_tokenizer(
            server_args.tokenizer_path or server_args.model_path,
            tokenizer_mode=server_args.tokenizer_mode,
            trust_remote_code=server_args.trust_remote_code,
            revision=server_args.revision,
            tokenizer_backend=server_args.tokenizer_backend,
        )


def once(original: hooks.Hook, *args: Any, **options: Any) -> Any:
    """What `original` gives for these arguments, from the first time on."""
    asked = repr((args, sorted(options.items())))
    if asked not in _loaded:
        _loaded[asked] = original(*args, **options)
    return _loaded[asked]
