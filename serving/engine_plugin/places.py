"""The places of SGLang that the plugin hooks, on any device: an engine attests each of them.

A gateway compares, so that an engine with an older plugin, or one that left a hook out, serves
nobody. The speed-ups of one device are not among them.
"""

from __future__ import annotations

_MANAGERS = "sglang.srt.managers"
_SCHEDULER = f"{_MANAGERS}.scheduler.Scheduler"
_TOKENIZER = f"{_MANAGERS}.tokenizer_manager.TokenizerManager"
_SERVER = "sglang.srt.entrypoints.http_server"
_ALLOCATOR = "sglang.srt.mem_cache.allocator"
_TOKENS = f"{_ALLOCATOR}.token.TokenToKVPoolAllocator"
_PAGES = f"{_ALLOCATOR}.paged.PagedTokenToKVPoolAllocator"
_BASE = f"{_ALLOCATOR}.base.BaseTokenToKVPoolAllocator"
_ADAPTERS = "sglang.srt.lora.mem_pool.LoRAMemoryPool"

HOOKED = frozenset(
    (
        # The door, and proofs on their way to the scheduler.
        f"{_SERVER}._setup_and_run_http_server",
        f"{_SERVER}._wait_and_warmup",
        f"{_SERVER}._freeze_gc_after_server_warmup",
        f"{_TOKENIZER}._create_tokenized_object",
        "sglang.srt.entrypoints.engine._server_args_for_logging",
        # The scheduler's line, and what the operator asks of it.
        f"{_SCHEDULER}.handle_generate_request",
        f"{_SCHEDULER}._create_generation_req",
        f"{_SCHEDULER}.handle_embedding_request",
        f"{_MANAGERS}.scheduler_components.internal_state"
        ".SchedulerInternalStateController.get_internal_state",
        # Rows and costs of its steps.
        f"{_SCHEDULER}.get_next_batch_to_run",
        f"{_SCHEDULER}.get_new_batch_prefill",
        f"{_MANAGERS}.schedule_policy.PrefillAdder.preempt_to_schedule",
        f"{_SCHEDULER}.run_batch",
        f"{_SCHEDULER}.process_batch_result",
        f"{_SCHEDULER}.get_output_streamer_class",
        f"{_SCHEDULER}.send_abort_output",
        f"{_TOKENIZER}._handle_batch_output",
        f"{_TOKENIZER}._handle_abort_req",
        # Budgets, and slots that are zeroed when they are freed.
        f"{_BASE}.create_prefill_budget",
        f"{_TOKENS}.free",
        f"{_TOKENS}.clear",
        f"{_BASE}.free_group_end",
        f"{_PAGES}.free",
        f"{_PAGES}.free_page_ids",
        f"{_PAGES}.clear",
        f"{_PAGES}.free_group_end",
        "sglang.srt.mem_cache.common.release_kv_cache",
        # Grammars of tool calls.
        "sglang.srt.constrained.grammar_manager.create_grammar_backend",
        "sglang.srt.constrained.grammar_manager.GrammarManager.process_req_with_grammar",
        "sglang.srt.constrained.grammar_manager.GrammarManager.get_ready_grammar_requests",
        # Adapters' buffers, copies and prefixes.
        f"{_ADAPTERS}.load_lora_weight_to_buffer",
        f"{_ADAPTERS}.remove_lora",
        "sglang.srt.lora.lora_manager.LoRAManager.unload_lora_adapter",
        f"{_SCHEDULER}.unload_lora_adapter",
    )
)
