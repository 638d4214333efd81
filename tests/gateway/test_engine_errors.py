"""What a caller is told when the engine refuses: by its own code, and nothing of the engine's."""

from __future__ import annotations

import time

import openai
import pytest

from tests.gateway.conftest import Platform

FOREIGN = "voltbay-contracts"


async def _refused(platform: Platform, message: str) -> openai.APIStatusError:
    platform.engine.refusal = (400, {"object": "error", "message": message, "code": 400})
    question = [{"role": "user", "content": "How long may I return?"}]
    async with platform.client("key-f") as client:
        with pytest.raises(openai.APIStatusError) as caught:
            await client.chat.completions.create(model="base", messages=question)
    return caught.value


async def test_what_can_never_fit_is_no_reason_to_try_again(platform: Platform) -> None:
    began = time.monotonic()
    error = await _refused(platform, "kv_reserved_for_others")
    assert (error.status_code, error.code) == (429, "kv_budget_exceeded")
    assert error.response.headers["x-should-retry"] == "false"
    assert "retry-after" not in error.response.headers
    assert time.monotonic() - began < 5  # nothing ran: there is no cost to wait for


async def test_what_the_engine_does_not_take_is_the_callers_error(platform: Platform) -> None:
    error = await _refused(platform, f"longer than {FOREIGN}")
    assert (error.status_code, error.code) == (400, "invalid_request")
    assert FOREIGN not in error.response.text


async def test_an_adapter_that_is_out_just_now_is_worth_another_try(platform: Platform) -> None:
    error = await _refused(platform, f"LoRA adapter not loaded. Loaded: ['{FOREIGN}']")
    assert (error.status_code, error.code) == (503, "engine_unavailable")
    assert "retry-after" in error.response.headers
    assert FOREIGN not in error.response.text
