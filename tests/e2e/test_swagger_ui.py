"""Swagger UI in a real browser: it works without any other host, and so does "Try it out"."""

import json
from urllib.parse import urlsplit

from playwright.sync_api import Page

from fanfold.devstack.running import RunningStack


def try_out(page: Page, operation: str) -> str:
    """Open an operation and execute it; the response body that the page shows."""
    block = page.locator(f"#operations-jobs-{operation}")
    if "is-open" not in (block.get_attribute("class") or ""):
        block.locator(".opblock-summary-control").click()
    block.locator("button.execute").click()
    shown = block.locator(".live-responses-table .response-col_description .highlight-code")
    text = shown.first.inner_text()
    return text[text.index("{") :]


def test_swagger_ui_asks_no_other_host_and_runs_a_job(page: Page, stack: RunningStack) -> None:
    asked: list[str] = []
    failed: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("requestfailed", lambda request: failed.append(request.url))
    page.on("pageerror", lambda error: failed.append(str(error)))
    # What the page's policy forbids is written there.
    page.on("console", lambda message: failed.append(message.text))

    shown = page.goto(f"{stack.url}/docs")
    assert shown is not None
    policy = shown.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert shown.headers["x-frame-options"] == "DENY"
    page.locator("#operations-jobs-submit_job").wait_for()
    submitted = json.loads(try_out(page, "submit_job"))
    assert submitted["id"].startswith("job_")
    assert submitted["state"] == "pending"
    block = page.locator("#operations-jobs-get_job")
    block.locator(".opblock-summary-control").click()
    block.locator("input[placeholder='job_id']").fill(submitted["id"])
    block.locator("input[placeholder^='Prefer']").fill("wait=20")
    found = json.loads(try_out(page, "get_job"))

    assert (found["id"], found["state"]) == (submitted["id"], "partially_succeeded")
    hosts = {urlsplit(url).netloc for url in asked if not url.startswith("data:")}
    assert hosts == {f"127.0.0.1:{stack.http_port}"}
    assert failed == []
