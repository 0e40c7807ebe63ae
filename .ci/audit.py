"""Are there known vulnerabilities in what constraints.txt pins? Exit status 1 if there are; what was not asked is said.

pip-audit alone is not enough: where an index that knows no vulnerabilities answers in the service's place, it skips
every package and reports that it found none.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

PINNED = Path(__file__).resolve().parent.parent / "constraints.txt"
SERVICES = ("pypi", "osv")
_LIMIT = 300.0  # seconds a service
_SHOWN = 5


def ask(service: str, pinned: Path | str) -> tuple[list[dict[str, Any]], str]:
    """What a service says of each package, and why it says nothing of some; empty where it cannot be reached."""
    command = [
        sys.executable, "-m", "pip_audit", "--vulnerability-service", service, "--requirement", str(pinned),
        "--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off", "--timeout", "10",
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT, check=False)
    except subprocess.TimeoutExpired:
        return [], f"no answer within {_LIMIT:.0f} s"
    try:
        return json.loads(done.stdout)["dependencies"], "it does not know them"
    except (ValueError, KeyError):
        said = done.stderr.strip().splitlines()
        return [], said[-1].partition("(")[0] if said else f"pip-audit ended with status {done.returncode}"


def main(pinned: Path | str = PINNED) -> int:
    """Ask the first service that knows anything."""
    for service in SERVICES:
        packages, why = ask(service, pinned)
        audited = [package for package in packages if "vulns" in package]
        if audited:
            return report(audited, [package["name"] for package in packages if "vulns" not in package], service)
        print(f"audit: {service} says nothing of any package: {why}")
    print("audit: NOT AUDITED. No vulnerability service could be asked; run `make audit` where one can be reached.")
    return 0


def report(audited: list[dict[str, Any]], skipped: list[str], service: str) -> int:
    """Print what was found and what was not looked at."""
    found = [(package, fault) for package in audited for fault in package["vulns"]]
    for package, fault in found:
        fixed = f"; fixed in {', '.join(fault['fix_versions'])}" if fault["fix_versions"] else ""
        print(f"audit: {package['name']} {package['version']}: {fault['id']}{fixed}")
    print(f"audit: {len(found)} known vulnerabilities in {len(audited)} packages, by {service}")
    if skipped:
        more = f" and {len(skipped) - _SHOWN} more" if len(skipped) > _SHOWN else ""
        print(f"audit: NOT AUDITED, unknown to {service}: {', '.join(skipped[:_SHOWN])}{more}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
