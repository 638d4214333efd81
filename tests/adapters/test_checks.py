"""An upload is checked whole before anything of it is stored; each refusal has its code."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.numpy import load, save

from serving.adapters.checks import AdapterLimits, Upload, check_upload
from serving.adapters.errors import AdapterRefusedError, AdapterTooLargeError
from serving.adapters.names import NOTHING, Reference, checked_name, parse_reference
from serving.adapters.peft_config import CONFIG_FILE
from serving.adapters.weights import WEIGHTS_FILE
from tests.adapters.files import BASE, MODULES, config, tensors, write

LIMITS = AdapterLimits(rank=16, bytes=2_000_000, versions=10)
FOREVER = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def _code(folder: Path) -> str:
    """What the check says; `served` if nothing."""
    try:
        check_upload(Upload(folder / "a", "support", {}), BASE, LIMITS)
    except AdapterRefusedError as error:
        return error.code
    return "served"


def _of_config(tmp_path: Path, **changes: Any) -> str:
    write(tmp_path / "a", content=config(**changes))
    return _code(tmp_path)


def _of_weights(tmp_path: Path, data: bytes) -> str:
    write(tmp_path / "a")
    (tmp_path / "a" / WEIGHTS_FILE).write_bytes(data)
    return _code(tmp_path)


def test_what_peft_saves_is_served_and_its_configuration_written_anew(tmp_path: Path) -> None:
    upload = write(tmp_path / "a", content=config(revision="main", peft_version="0.21.2"))
    checked = check_upload(upload, BASE, LIMITS)
    assert (checked.config.r, checked.dtype) == (4, "F32")
    stored = json.loads((upload.folder / CONFIG_FILE).read_text())
    assert "revision" not in stored
    assert checked.files[CONFIG_FILE].bytes == (upload.folder / CONFIG_FILE).stat().st_size


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"base_model_name_or_path": "meta-llama/Llama-3.1-8B"}, "adapter_base_mismatch"),
        ({"base_model_name_or_path": "smollm2-135m"}, "adapter_base_mismatch"),
        ({"base_model_name_or_path": "/models/tiny-random-b179c952-1/"}, "served"),
        ({"r": 64}, "adapter_rank_not_supported"),
        ({"r": 0}, "adapter_config_invalid"),
        ({"r": "4"}, "adapter_config_invalid"),
        ({"r": True}, "adapter_config_invalid"),
        ({"lora_alpha": float("inf")}, "adapter_config_invalid"),
        ({"lora_alpha": -1}, "adapter_config_invalid"),
        ({"target_modules": "all-linear"}, "adapter_config_invalid"),
        ({"target_modules": ["q_proj", "v_proj", "embed_tokens"]}, "adapter_modules_not_supported"),
        ({"target_modules": ["q_proj", "o_proj"]}, "adapter_modules_not_supported"),
        ({"target_modules": ["up_proj"]}, "adapter_modules_not_supported"),
        ({"target_modules": [*MODULES, "q_proj"]}, "adapter_modules_not_supported"),
        ({"peft_type": "IA3"}, "adapter_config_invalid"),
        ({"use_dora": True}, "adapter_config_invalid"),
        ({"use_dora": 1}, "adapter_config_invalid"),
        ({"use_rslora": True}, "adapter_config_invalid"),
        ({"rank_pattern": {"q_proj": 8}}, "adapter_config_invalid"),
        ({"modules_to_save": ["lm_head"]}, "adapter_config_invalid"),
        ({"bias": "all"}, "adapter_config_invalid"),
        ({"a_field_of_tomorrow": True}, "adapter_config_invalid"),
        ({"a_field_of_tomorrow": None}, "served"),
    ],
)
def test_a_configuration_that_would_be_served_wrongly_is_refused(
    tmp_path: Path, changes: dict[str, Any], code: str
) -> None:
    assert _of_config(tmp_path, **changes) == code


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"r": 4, "r": 8}',
        b'{"r": NaN}',
        b"[" * 100_000,
        b"\xff\xfe",
        b" " * 70_000,
    ],
)
def test_a_configuration_that_is_no_json_object_is_refused(tmp_path: Path, content: bytes) -> None:
    write(tmp_path / "a")
    (tmp_path / "a" / CONFIG_FILE).write_bytes(content)
    assert _code(tmp_path) == "adapter_config_invalid"


def _pickled() -> bytes:
    class Opens:
        def __reduce__(self) -> tuple[Any, ...]:
            return (open, ("/tmp/executed", "w"))

    return pickle.dumps(Opens())


def _torch_archive() -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("archive/data.pkl", _pickled())
    return packed.getvalue()


def _header(content: bytes, length: int | None = None) -> bytes:
    size = len(content) if length is None else length
    return size.to_bytes(8, "little") + content


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 7,
        _pickled(),
        _torch_archive(),
        _header(b"{}", 2**63),
        _header(b"{}", 3),
        _header(b"{}") + b"left over",
        _header(b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 8]}}') + b"\0" * 4,
        _header(b'{"a": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}') + b"\0" * 4,
        _header(b'{"a": {"dtype": "F32", "shape": [4611686018427387905], "data_offsets": [0, 4]}}')
        + b"\0" * 4,
        _header(b" " * 1_000_001),
    ],
    ids=lambda data: f"{len(data)}-{data[:6].hex()}",
)
def test_what_is_no_whole_safetensors_file_is_refused(tmp_path: Path, data: bytes) -> None:
    assert _of_weights(tmp_path, data) == "adapter_not_safetensors"
    assert not Path("/tmp/executed").exists()


def test_cut_anywhere_it_is_refused(tmp_path: Path) -> None:
    whole = save(tensors())
    for end in (1, 8, 100, len(whole) // 2, len(whole) - 1):
        assert _of_weights(tmp_path, whole[:end]) == "adapter_not_safetensors"
    assert _of_weights(tmp_path, whole) == "served"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [np.float32, np.float16])
def test_a_weight_that_is_no_number_is_refused(tmp_path: Path, bad: float, kind: Any) -> None:
    made = {name: values.astype(kind) for name, values in tensors().items()}
    assert _of_weights(tmp_path, save(made)) == "served"
    list(made.values())[-1][-1, -1] = bad
    assert _of_weights(tmp_path, save(made)) == "adapter_not_finite"


def test_bfloat16_is_served_and_its_infinity_refused(tmp_path: Path) -> None:
    data = bytearray(save({n: v.astype(np.float16) for n, v in tensors().items()}))
    as_bfloat16 = bytes(data).replace(b'"F16"', b'"BF16"', -1)
    length = int.from_bytes(data[:8], "little")
    grown = as_bfloat16.count(b'"BF16"')
    header = as_bfloat16[8 : 8 + length + grown].rstrip()
    body = bytes(len(data) - 8 - length)
    assert _of_weights(tmp_path, _header(header) + body) == "served"
    assert _of_weights(tmp_path, _header(header) + body[:-2] + b"\x80\x7f") == "adapter_not_finite"


@pytest.mark.parametrize("kind", [np.float64, np.int32, np.int8])
def test_other_types_are_refused(tmp_path: Path, kind: Any) -> None:
    made = {name: values.astype(kind) for name, values in tensors().items()}
    assert _of_weights(tmp_path, save(made)) == "adapter_dtype_not_supported"


def test_mixed_types_are_refused(tmp_path: Path) -> None:
    made = tensors()
    first = next(iter(made))
    made[first] = made[first].astype(np.float16)
    assert _of_weights(tmp_path, save(made)) == "adapter_dtype_not_supported"


def test_tensors_that_are_not_the_adapters_are_refused(tmp_path: Path) -> None:
    made = tensors()
    first = next(iter(made))
    variants = [
        tensors(rank=8),
        {name: values.T.copy() for name, values in made.items()},
        {name: values for name, values in made.items() if name != first},
        made | {"base_model.model.lm_head.weight": made[first]},
        made | {first.replace("layers.0", "layers.2"): made[first]},
        {name.replace("base_model.", "../"): values for name, values in made.items()},
        {},
    ]
    for variant in variants:
        assert _of_weights(tmp_path, save(variant)) == "adapter_shape_mismatch"


def test_other_files_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "a")
    (tmp_path / "a" / "adapter_model.bin").write_bytes(b"")
    assert _code(tmp_path) == "adapter_files_invalid"
    (tmp_path / "a" / "adapter_model.bin").unlink()
    (tmp_path / "a" / WEIGHTS_FILE).unlink()
    assert _code(tmp_path) == "adapter_files_invalid"


def test_too_many_bytes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(AdapterTooLargeError):
        check_upload(write(tmp_path / "a"), BASE, AdapterLimits(rank=16, bytes=1_000, versions=1))


WHOLE = save(tensors())
HEADER_END = 8 + int.from_bytes(WHOLE[:8], "little")


@FOREVER
@given(st.data())
def test_a_mutated_header_is_refused_or_means_what_the_library_reads(
    tmp_path: Path, data: st.DataObject
) -> None:
    """Never another exception, and what is served has the names and shapes that were checked."""
    mutated = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, HEADER_END - 1))
        mutated[at] = data.draw(st.sampled_from([*b'0123456789{}[],:"\\ -eF\0\xff', at % 256]))
    if _of_weights(tmp_path, bytes(mutated)) == "served":
        read = load(bytes(mutated))
        assert {name: v.shape for name, v in read.items()} == {
            name: v.shape for name, v in tensors().items()
        }


@FOREVER
@given(st.binary(max_size=200), st.integers(0, 2**64 - 1))
def test_random_bytes_are_refused(tmp_path: Path, content: bytes, length: int) -> None:
    assert _of_weights(tmp_path, content) != "served"
    assert _of_weights(tmp_path, length.to_bytes(8, "little") + content) != "served"


@pytest.mark.parametrize(
    "name",
    [
        "base",
        "",
        "a" * 64,
        "../x",
        "a/b",
        "Support",
        "a@1",
        "a:b",
        "-a",
        "a-",
        "a b",
        "a\0",
        "ä",
        "a\n",
    ],
)
def test_a_name_that_could_mean_something_else_is_refused(name: str) -> None:
    with pytest.raises(AdapterRefusedError) as caught:
        checked_name(name)
    assert caught.value.code == "adapter_name_invalid"
    if name != "base":
        assert parse_reference(name) in (NOTHING, Reference("a", 1))


@pytest.mark.parametrize(
    "text", ["a@0", "a@01", "a@-1", "a@1@2", "a@", "a@1x", "a@²", "a@" + "9" * 10]
)
def test_a_version_has_one_spelling(text: str) -> None:
    assert parse_reference(text) == NOTHING
    assert parse_reference("a@12") == Reference("a", 12)
    assert parse_reference("a") == Reference("a", None)
