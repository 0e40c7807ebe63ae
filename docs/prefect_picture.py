"""Picture of Prefect's UI: the artifact with the result of the newest completed run of a deployment.

Run `make serve` and `prefect deployment run DEPLOYMENT --watch` first, then:
python -m docs.prefect_picture DEPLOYMENT OUT.png
"""

from __future__ import annotations

import base64
import shutil
import sys

import httpx
from playwright.sync_api import ViewportSize, sync_playwright

from deployments.installation import read_installation

_SIZE: ViewportSize = {"width": 1360, "height": 1230}
_TIMEOUT = 60_000.0  # milliseconds
_ANIMATION = 3_000.0  # milliseconds until the page is drawn


def main(deployment: str, out: str) -> None:
    """Open the page of the newest run in a browser with the API key, and write a screenshot."""
    installation = read_installation()
    secrets = installation.read_secrets()
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if secrets is None or chromium is None:
        sys.exit("The picture needs the servers of `make serve` and Chromium (apt-get install chromium).")
    _, key = secrets
    take_picture(installation.url, key, newest_run(installation.url, key, deployment), chromium, out)


def take_picture(url: str, key: str, run_id: str, chromium: str, out: str) -> None:
    """Write a screenshot of the artifact of a run that holds its result, its picture and its numbers."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, headless=True, args=["--no-sandbox"])
        page = browser.new_page(viewport=_SIZE)
        # Prefect's login page stores the key in the same way.
        stored_key = base64.b64encode(key.encode()).decode()
        page.add_init_script(f"localStorage.setItem('prefect-password', '{stored_key}')")
        page.goto(f"{url.removesuffix('/api')}/runs/flow-run/{run_id}")
        page.get_by_text("Artifacts", exact=True).first.click(timeout=_TIMEOUT)
        page.get_by_text("Published forecast").first.wait_for(timeout=_TIMEOUT)
        page.get_by_text("-published").first.click(timeout=_TIMEOUT)
        page.get_by_alt_text("Forecast").wait_for(timeout=_TIMEOUT)
        page.wait_for_timeout(_ANIMATION)
        page.screenshot(path=out)
        browser.close()


def newest_run(url: str, key: str, deployment: str) -> str:
    """Return the id of the deployment's newest completed run."""
    user, _, password = key.partition(":")
    with httpx.Client(base_url=url, auth=(user, password), timeout=30) as api:
        about = api.get(f"{url}/deployments/name/{deployment}").raise_for_status().json()
        run_filter = {
            "deployments": {"id": {"any_": [about["id"]]}},
            "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}},
            "sort": "END_TIME_DESC", "limit": 1,
        }  # fmt: skip
        runs = api.post(f"{url}/flow_runs/filter", json=run_filter).raise_for_status().json()
    if not runs:
        sys.exit(f"{deployment} has no completed run. Start one: prefect deployment run {deployment} --watch")
    run_id: str = runs[0]["id"]
    return run_id


if __name__ == "__main__":
    main(*sys.argv[1:])
