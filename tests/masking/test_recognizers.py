"""Recognizers that others bring: the port that all keep to, and one that is installed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from isolation.masking.detector import PresidioDetector
from isolation.masking.entities import VERSION
from isolation.masking.findings import Detector, Finding
from isolation.masking.recognizers import RecognizerError, Recognizers, made, version
from isolation.masking.workers import DetectorWorkers, MaskingUnavailableError, WorkersOnDemand
from isolation.testing.recognizers import check

SOURCE = """
import re
from isolation.masking.findings import Finding

class Skippers:
    def find(self, text, locale=None):
        return [Finding(*m.span(), "PERSON", 0.9) for m in re.finditer("skipper [a-z]+", text)]

class Broken:
    def find(self, text, locale=None):
        return [Finding(0, 5, "BOAT")]
"""


class Badges:
    """Ours, as another package would bring it."""

    def find(self, text: str, locale: str | None = None) -> list[Finding]:
        return [Finding(*m.span(), "USERNAME", 0.8) for m in re.finditer(r"badge \d+", text)]


@pytest.fixture(scope="module")
def presidio() -> PresidioDetector:
    return PresidioDetector()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that registers recognizers."""
    (tmp_path / "boats.py").write_text(SOURCE)
    info = tmp_path / "boats-1.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: boats\nVersion: 1.5\n")
    points = "skippers = boats:Skippers\nbroken = boats:Broken\n"
    (info / "entry_points.txt").write_text(f"[bulkhead.recognizers]\n{points}")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


def test_the_platforms_own_keeps_to_the_port(presidio: PresidioDetector) -> None:
    check(
        presidio, "Write to ada.lind@example.com please.", "ada.lind@example.com", "EMAIL_ADDRESS"
    )


def test_another_one_keeps_to_it_and_both_together(presidio: PresidioDetector) -> None:
    for detector in (Badges(), Recognizers([presidio, Badges()])):
        check(detector, "This is badge 77123 of ours.", "badge 77123", "USERNAME")


class _Unknown(Badges):
    def find(self, text: str, locale: str | None = None) -> list[Finding]:
        return [Finding(f.start, f.end, "BADGE") for f in super().find(text)]


class _Beyond(Badges):
    def find(self, text: str, locale: str | None = None) -> list[Finding]:
        return [Finding(f.start, f.end + 50, f.entity) for f in super().find(text)]


class _Shifted(Badges):
    """Counts bytes, as some tokenizers do."""

    def find(self, text: str, locale: str | None = None) -> list[Finding]:
        more = len(text.encode("utf-8", "replace")) - len(text)
        return [Finding(f.start + more, f.end, f.entity) for f in super().find(text)]


@pytest.mark.parametrize("detector", [_Unknown(), _Beyond(), _Shifted()])
def test_one_that_does_not_is_caught(detector: Detector) -> None:
    with pytest.raises((AssertionError, RecognizerError)):
        check(detector, "This is badge 77123 of ours.", "badge 77123", "USERNAME")


@pytest.mark.usefixtures("installed")
def test_an_installed_one_is_made_by_its_name_and_changes_the_version() -> None:
    (skippers,) = made(["skippers"])
    assert len(skippers.find("Ask skipper ahab.", None)) == 1
    assert version(["skippers"]) == f"{VERSION}+skippers=1.5"
    with pytest.raises(RecognizerError, match="'nobody'"):
        WorkersOnDemand(1, ["nobody"])


@pytest.mark.usefixtures("installed")
async def test_the_workers_use_it_and_a_text_that_it_breaks_on_does_not_go_on() -> None:
    workers = await DetectorWorkers.start(1, ["skippers"])
    found = await workers.find("Ask skipper ahab or ada@example.com", None)
    assert {each.entity for each in found} == {"PERSON", "EMAIL_ADDRESS"}
    assert workers.version == version(["skippers"])
    await workers.close()
    workers = await DetectorWorkers.start(1, ["broken"])
    with pytest.raises(MaskingUnavailableError):
        await workers.find("Ask somebody.", None)
    await workers.close()
