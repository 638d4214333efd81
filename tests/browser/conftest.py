"""A real browser: Debian's chromium, without its network services."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright

from tests.gateway.conftest import Platform, serving_platform


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncGenerator[Browser, None]:
    """One for all tests: to start it takes longer than any of them."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed: apt-get install chromium")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser) -> AsyncGenerator[Page, None]:
    """In a context of its own, as a private window: nothing is stored yet."""
    context = await browser.new_context()
    page = await context.new_page()
    page.set_default_timeout(30_000)
    troubles: list[str] = []
    page.on("pageerror", lambda error: troubles.append(str(error)))
    yield page
    await context.close()
    assert troubles == []


@pytest_asyncio.fixture(loop_scope="module")
async def demo() -> AsyncGenerator[Platform, None]:
    async with serving_platform(demo=True) as platform:
        yield platform


@pytest_asyncio.fixture(loop_scope="module")
async def platform() -> AsyncGenerator[Platform, None]:
    async with serving_platform(demo=False) as platform:
        yield platform
