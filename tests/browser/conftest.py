"""A real browser: Debian's chromium, without its network services."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator

import pytest
from playwright.async_api import Page, async_playwright

from tests.gateway.conftest import Platform, serving_platform


@pytest.fixture
async def page() -> AsyncGenerator[Page, None]:
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = await browser.new_page()
        page.set_default_timeout(30_000)
        troubles: list[str] = []
        page.on("pageerror", lambda error: troubles.append(str(error)))
        yield page
        await browser.close()
        assert troubles == []


@pytest.fixture
async def demo() -> AsyncGenerator[Platform, None]:
    async with serving_platform(demo=True) as platform:
        yield platform


@pytest.fixture
async def platform() -> AsyncGenerator[Platform, None]:
    async with serving_platform(demo=False) as platform:
        yield platform
