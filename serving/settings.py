"""Settings: from the environment (prefix `BULKHEAD_`), then `bulkhead.yaml`, then these defaults.

Left alone, everything runs embedded below `data_dir`; a URL replaces a part by a real deployment.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
    YamlConfigSettingsSource,
)
from yaml import YAMLError

from serving.errors import StartupError

Switch = Literal["on", "off"]


class Settings(BaseSettings):
    """What an operator may set."""

    model_config = SettingsConfigDict(
        env_prefix="BULKHEAD_", yaml_file="bulkhead.yaml", extra="forbid"
    )

    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)
    allowed_hosts: list[str] = []
    link_hosts: list[str] = []
    data_dir: Path = Path(".bulkhead")
    admin_key: SecretStr | None = None
    master_key: SecretStr | None = None
    previous_master_key: SecretStr | None = None

    database_url: str | None = None
    redis_url: str | None = None

    qdrant_url: str | None = None
    qdrant_api_key: SecretStr | None = None
    qdrant_collection: str = Field("bulkhead", pattern=r"^[A-Za-z0-9_-]{1,200}$")
    qdrant_placement: Literal["shared", "tiered"] = "shared"
    qdrant_timeout_seconds: float = Field(10.0, ge=1, le=300)
    qdrant_grpc: Switch = "off"
    qdrant_grpc_port: int = Field(6334, ge=1, le=65535)

    engine_urls: list[str] = []
    engine_key: SecretStr | None = None
    engine_venv: Path = Path(".venv-engine")
    model: str = "smollm2-135m-instruct"
    model_path: Path | None = None
    engine_slots: int = Field(8, ge=1)
    engine_start_seconds: float = Field(600.0, gt=0)
    engine_port: int = Field(0, ge=0, le=65535)
    engine_trust: Path | None = None
    engine_kernels: Literal["int8", "float32", "stock"] = "int8"
    engine_shared_chunk: int | None = Field(None, ge=0)
    engine_tool_parser: str = Field("hermes", pattern=r"^(off|[a-z0-9][a-z0-9_-]{0,40})$")
    engine_key_number: int = Field(1, ge=1)
    kv_scrub: Switch = "on"

    adapters: Switch = "on"
    adapter_url: str | None = None
    adapter_memory: Path = Path("/dev/shm")
    adapter_max_bytes: int = Field(200_000_000, ge=1_000)
    adapter_max_versions: int = Field(100, ge=1)
    adapter_rank: int = Field(16, ge=1, le=256)
    adapter_batch: int = Field(4, ge=1)
    adapter_capacity: int = Field(8, ge=1)
    adapter_minimum_seconds: float = Field(10.0, ge=0)
    adapter_revocation: Literal["end", "finish"] = "end"
    adapter_grace_seconds: float = Field(30.0, gt=0, le=600)
    adapter_blind_seconds: float = Field(10.0, ge=2, le=20)

    embedding: str = "minilm"
    retrieval: Switch = "on"
    masking: Switch = "on"
    masking_workers: int = Field(1, ge=1, le=64)
    masking_recognizers: list[str] = []
    refusal: Switch = "on"
    refusal_threshold: float = Field(0.27, ge=0, le=1)
    refusal_text: str = Field(
        "I could not find anything about that in the documents I have, so I cannot answer it.",
        min_length=1,
    )
    refusal_texts: dict[str, str] = {}
    top_k: int = Field(3, ge=1, le=20)
    passage_tokens: int = Field(420, ge=50)
    prompt_sentences: int | None = Field(None, ge=0, le=128)
    default_max_tokens: int = Field(160, ge=1)
    queue_seconds: float = Field(60.0, gt=0)
    max_body_bytes: int = Field(2_000_000, ge=1_000)
    max_document_bytes: int = Field(10_000_000, ge=1_000)
    max_file_bytes: int = Field(100_000_000, ge=1_000)
    parse_seconds: float = Field(120.0, gt=0)
    parse_memory_bytes: int = Field(1_000_000_000, ge=100_000_000)
    parsers: int = Field(2, ge=1, le=64)

    trace_context: Literal["ignored", "taken"] = "ignored"

    demo: Path | None = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings, env_settings, YamlConfigSettingsSource(settings_cls))


def load_settings() -> Settings:
    """The settings of this process.

    Raises:
        StartupError: one of them is wrong; the message names it, and never its value.
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        name = str(first["loc"][0]) if first["loc"] else "?"
        raise StartupError(f"BULKHEAD_{name.upper()}: {first['msg']}.") from None
    except SettingsError as error:
        found = re.search(r'field "(\w+)"', str(error))
        name = found[1].upper() if found else "?"
        raise StartupError(f"BULKHEAD_{name} is not valid JSON.") from None
    except (OSError, YAMLError):
        raise StartupError("bulkhead.yaml cannot be read, or is not valid YAML.") from None
