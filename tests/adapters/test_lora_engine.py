"""The fake engine keeps to the contract; SGLang's own turn is in tests/engine/test_adapters.py."""

from __future__ import annotations

import pytest

from tests.adapters.engine_contract import LoraEngineContract
from tests.adapters.fake_engine import FakeLoraEngine


class TestFake(LoraEngineContract):
    @pytest.fixture
    def lora_engine(self) -> FakeLoraEngine:
        return FakeLoraEngine()
