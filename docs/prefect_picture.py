"""The picture of a night in Prefect's UI: the newest finished run of a deployment with its artifacts.

python -m docs.prefect_picture DEPLOYMENT OUT.png, after `make serve` and `prefect deployment run DEPLOYMENT --watch`.
"""

from __future__ import annotations

import base64
import shutil
import sys

import httpx
from playwright.sync_api import sync_playwright

from deployments import place

_SIZE = {"width": 1360, "height": 1030}
_PATIENCE = 60_000.0  # milliseconds


def main(deployment: str, out: str) -> None:
    """Open the page of the run as somebody does who has the key, and keep what it shows."""
    at = place.read()
    secrets = at.secrets()
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if secrets is None or found is None:
        sys.exit("needs what `make serve` brings up, and Chromium (apt-get install chromium)")
    _, key = secrets
    run = _newest(at.url, key, deployment)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, headless=True, args=["--no-sandbox"])
        page = browser.new_page(viewport=_SIZE)
        # What the page of the login leaves.
        kept = base64.b64encode(key.encode()).decode()
        page.add_init_script(f"localStorage.setItem('prefect-password', '{kept}')")
        page.goto(f"{at.url.removesuffix('/api')}/runs/flow-run/{run}")
        page.get_by_text("Artifacts", exact=True).click(timeout=_PATIENCE)
        page.get_by_text("What was published").first.wait_for(timeout=_PATIENCE)
        # The timeline moves into its place.
        page.wait_for_timeout(3_000)
        page.screenshot(path=out)
        browser.close()


def _newest(url: str, key: str, deployment: str) -> str:
    """The id of the last run that was completed."""
    user, _, password = key.partition(":")
    with httpx.Client(base_url=url, auth=(user, password), timeout=30) as api:
        about = api.get(f"{url}/deployments/name/{deployment}").raise_for_status().json()
        asked = {
            "deployments": {"id": {"any_": [about["id"]]}},
            "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}},
            "sort": "END_TIME_DESC", "limit": 1,
        }  # fmt: skip
        runs = api.post(f"{url}/flow_runs/filter", json=asked).raise_for_status().json()
    if not runs:
        sys.exit(f"{deployment} has no completed run; `prefect deployment run {deployment} --watch`")
    identity: str = runs[0]["id"]
    return identity


if __name__ == "__main__":
    main(*sys.argv[1:])
