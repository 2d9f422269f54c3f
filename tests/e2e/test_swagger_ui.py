"""Swagger UI in a real browser: it works without any other host, and so does "Try it out"."""

import json
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from playwright.sync_api import Locator, Page

from fanfold.devstack.running import RunningStack
from tests.e2e.journeys import finish, run, submit

LINES = '{"iata": "HEL"}\n{"iata": "ARN"}\n'


def opened(page: Page, operation: str) -> Locator:
    """The operation, as `tag-id`, unfolded."""
    block = page.locator(f"#operations-{operation}")
    if "is-open" not in (block.get_attribute("class") or ""):
        block.locator(".opblock-summary-control").click()
    return block


def executed(block: Locator) -> str:
    """Execute the operation; the response body that the page shows."""
    block.locator("button.execute").click()
    shown = block.locator(".live-responses-table .response-col_description .highlight-code")
    return shown.first.inner_text()


def answer(block: Locator) -> dict[str, object]:
    """The same as JSON."""
    text = executed(block)
    found: dict[str, object] = json.loads(text[text.index("{") :])
    return found


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
    submitted = answer(opened(page, "jobs-submit_job"))
    assert str(submitted["id"]).startswith("job_")
    assert submitted["state"] == "pending"
    block = opened(page, "jobs-get_job")
    block.locator("input[placeholder='job_id']").fill(str(submitted["id"]))
    block.locator("input[placeholder^='Prefer']").fill("wait=20")
    found = answer(block)

    assert (found["id"], found["state"]) == (submitted["id"], "partially_succeeded")
    hosts = {urlsplit(url).netloc for url in asked if not url.startswith("data:")}
    assert hosts == {f"127.0.0.1:{stack.http_port}"}
    assert failed == []


def test_the_form_begins_with_a_job_that_runs_with_the_items_of_a_file(
    page: Page, stack: RunningStack, tmp_path: Path
) -> None:
    items = tmp_path / "flights.ndjson"
    items.write_text('{"airline": "AY"}\n{"airline": "SK"}\n{"airline": "AY"}\n')
    page.goto(f"{stack.url}/docs")
    block = opened(page, "jobs-submit_job")
    block.locator(".opblock-section-request-body select.content-type").select_option(
        "multipart/form-data"
    )
    box = block.locator("tr[data-property-name='job'] textarea")
    assert json.loads(box.input_value())["processor"] == "count_by"
    block.locator("input[type=file]").set_input_files(items)
    block.locator("input[placeholder^='Prefer']").fill("wait=20")

    job = answer(block)

    assert (job["name"], job["state"]) == ("flights by airline", "succeeded")
    assert job["result"] == {"AY": 2, "SK": 1}


def test_ndjson_is_shown_as_the_text_it_is(
    page: Page, stack: RunningStack, api: httpx.Client
) -> None:
    job = run(api, chunks=[[1], [2]], processor="double")
    page.goto(f"{stack.url}/docs")
    block = opened(page, "children-stream_results")
    example = block.locator(".responses-inner .responses-table").last.locator(".highlight-code")
    assert example.first.inner_text().startswith('{"index": 1, ')
    block.locator("input[placeholder='job_id']").fill(job["id"])

    lines = executed(block)

    assert "can't parse JSON" not in lines
    results = [json.loads(line)["result"] for line in lines.splitlines() if line.startswith("{")]
    assert results == [[2], [4]]


def test_the_items_of_a_part_are_edited_and_sent_as_the_lines_they_are(
    page: Page, stack: RunningStack, api: httpx.Client
) -> None:
    job = submit(api, source="upload", processor="transform")
    page.goto(f"{stack.url}/docs")
    block = opened(page, "jobs-send_items")
    assert block.locator(".opblock-section-request-body textarea").input_value() == LINES
    block.locator("input[placeholder='job_id']").fill(job["id"])
    block.locator("input[placeholder='part']").fill("1")

    stored = answer(block)

    assert stored == {"part": 1, "items": 2, "chunks": 1}
    assert api.post(f"/jobs/{job['id']}/seal").status_code == httpx.codes.ACCEPTED
    assert finish(api, job["id"])["state"] == "succeeded"


def test_each_error_of_a_job_that_is_refused_has_an_example(
    page: Page, stack: RunningStack
) -> None:
    page.goto(f"{stack.url}/docs")
    refused = opened(page, "jobs-submit_job").locator("tr.response[data-code='422']")
    shown = refused.locator(".highlight-code")
    assert json.loads(shown.inner_text())["code"] == "invalid_job"

    refused.locator("select.examples-select-element").select_option("invalid_options")

    shown.get_by_text("urn:fanfold:problem:invalid_options").wait_for()
    assert json.loads(shown.inner_text())["errors"][0]["pointer"] == "/options/upper"


def test_every_example_of_what_steers_a_job_works(page: Page, stack: RunningStack) -> None:
    page.goto(f"{stack.url}/docs")
    submitting = opened(page, "jobs-submit_job")
    job_id = str(answer(submitting)["id"])
    with httpx.Client(base_url=stack.url) as api:
        finish(api, job_id)
        for operation in ("redrive_job", "change_job"):
            block = opened(page, f"jobs-{operation}")
            block.locator("input[placeholder='job_id']").fill(job_id)
            examples = block.locator(".opblock-section-request-body select.examples-select-element")
            names = [option.get_attribute("value") for option in examples.locator("option").all()]
            assert len(names) > 1
            for name in names:
                examples.select_option(name)
                with page.expect_response(lambda response: job_id in response.url) as answered:
                    block.locator("button.execute").click()
                assert answered.value.ok, answered.value.text()
                finish(api, job_id)
