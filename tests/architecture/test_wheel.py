"""What is shipped: exactly the four packages, each typed, none importing at its top."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = {"evals", "isolation", "rag", "serving"}
# What is read at run time beside the modules.
DATA = {
    "evals/quality/questions/fjellvik.jsonl",
    "evals/quality/questions/support_kb.jsonl",
    "evals/quality/questions/voltbay.jsonl",
    "rag/embedding/minilm_tokenizer.json",
    "serving/engine/recipes/cpu-constraints.txt",
    "serving/engine/recipes/cpu-requirements.txt",
    "serving/gateway/page/api.js",
    "serving/gateway/page/chat.css",
    "serving/gateway/page/chat.js",
    "serving/gateway/page/index.html",
}


def test_the_wheel_holds_exactly_the_four_typed_packages(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    top = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert top == PACKAGES
    assert {f"{package}/py.typed" for package in PACKAGES} <= set(names)
    assert set(names) >= DATA


def test_package_init_files_import_nothing() -> None:
    inits = [path for package in PACKAGES for path in (ROOT / package).rglob("__init__.py")]
    assert inits
    assert [path for path in inits if path.read_text().strip()] == []
