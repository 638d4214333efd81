"""What the residency manager relies on; the fake and SGLang itself must both do it."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

import pytest

from serving.adapters.engine_names import EngineName
from serving.adapters.lora_engine import LoraEngine, is_out, unload_strangers
from serving.adapters.peft_config import CONFIG_FILE
from serving.errors import EngineUnavailableError
from tests.adapters.files import write


class LoraEngineContract:
    """Subclass it with a fixture `lora_engine`."""

    async def test_what_was_loaded_is_listed_until_it_is_unloaded(
        self, lora_engine: LoraEngine, tmp_path: Path
    ) -> None:
        name = secrets.token_hex(32)
        await lora_engine.load(name, write(tmp_path / "a").folder)
        assert name in await lora_engine.loaded()
        await lora_engine.unload(name)
        assert name not in await lora_engine.loaded()

    async def test_the_folder_is_not_needed_after_the_load(
        self, lora_engine: LoraEngine, tmp_path: Path
    ) -> None:
        name = secrets.token_hex(32)
        folder = write(tmp_path / "a").folder
        await lora_engine.load(name, folder)
        shutil.rmtree(folder)
        assert name in await lora_engine.loaded()
        await lora_engine.unload(name)

    async def test_a_name_is_loaded_once(self, lora_engine: LoraEngine, tmp_path: Path) -> None:
        name = secrets.token_hex(32)
        folder = write(tmp_path / "a").folder
        await lora_engine.load(name, folder)
        with pytest.raises(EngineUnavailableError):
            await lora_engine.load(name, folder)
        assert await is_out(lora_engine, EngineName(name))

    async def test_a_folder_without_an_adapter_is_refused_and_nothing_is_loaded(
        self, lora_engine: LoraEngine, tmp_path: Path
    ) -> None:
        before = await lora_engine.loaded()
        folder = write(tmp_path / "a").folder
        (folder / CONFIG_FILE).unlink()
        with pytest.raises(EngineUnavailableError):
            await lora_engine.load(secrets.token_hex(32), folder)
        assert await lora_engine.loaded() == before

    async def test_an_unknown_name_is_out_and_refused(self, lora_engine: LoraEngine) -> None:
        name = EngineName(secrets.token_hex(32))
        with pytest.raises(EngineUnavailableError):
            await lora_engine.unload(name)
        assert await is_out(lora_engine, name)

    async def test_strangers_are_unloaded_and_what_is_known_stays(
        self, lora_engine: LoraEngine, tmp_path: Path
    ) -> None:
        known, stranger = (EngineName(secrets.token_hex(32)) for _ in range(2))
        for number, name in enumerate((known, stranger)):
            await lora_engine.load(name, write(tmp_path / str(number), seed=number).folder)
        await unload_strangers(lora_engine, lambda: [known])
        assert await lora_engine.loaded() == [known]
        await lora_engine.unload(known)

    async def test_an_engine_keeps_its_incarnation(self, lora_engine: LoraEngine) -> None:
        assert lora_engine.incarnation == lora_engine.incarnation != ""
