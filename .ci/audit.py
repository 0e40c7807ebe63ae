"""Audit of the pinned packages: exit status 1 if constraints.txt pins a version with a known vulnerability.

pip-audit alone is not enough. If an index that knows no vulnerabilities answers in the service's place, pip-audit skips
every package and reports that it found none. This script reports which packages were not audited.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CONSTRAINTS = Path(__file__).resolve().parent.parent / "constraints.txt"
SERVICES = ("pypi", "osv")
_LIMIT = 300.0  # seconds per service
_SHOWN = 5


def query_service(service: str, constraints: Path | str) -> tuple[list[dict[str, Any]], str]:
    """Return the answer of a service for each package, and the reason why packages may lack an answer.

    The list is empty if the service cannot be reached.
    """
    command = [
        sys.executable, "-m", "pip_audit", "--vulnerability-service", service, "--requirement", str(constraints),
        "--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off", "--timeout", "10",
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_LIMIT, check=False)
    except subprocess.TimeoutExpired:
        return [], f"no answer within {_LIMIT:.0f} s"
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        lines = done.stderr.strip().splitlines()
        return [], lines[-1].partition("(")[0] if lines else f"pip-audit ended with status {done.returncode}"
    return packages, "the service does not know them"


def main(constraints: Path | str = CONSTRAINTS) -> int:
    """Report the answer of the first service that knows any package, and return the exit status."""
    for service in SERVICES:
        packages, reason = query_service(service, constraints)
        audited = [package for package in packages if "vulns" in package]
        if audited:
            return report(audited, [package["name"] for package in packages if "vulns" not in package], service)
        print(f"audit: {service} knows no package: {reason}")
    print("audit: NOT AUDITED. No vulnerability service answered. Run `make audit` where one can be reached.")
    return 0


def report(audited: list[dict[str, Any]], skipped: list[str], service: str) -> int:
    """Print the vulnerabilities and the packages that were not audited, and return the exit status."""
    known = [(package, vulnerability) for package in audited for vulnerability in package["vulns"]]
    for package, vulnerability in known:
        versions = ", ".join(vulnerability["fix_versions"])
        fixed = f"; fixed in {versions}" if versions else ""
        print(f"audit: {package['name']} {package['version']}: {vulnerability['id']}{fixed}")
    print(f"audit: {len(known)} known vulnerabilities in {len(audited)} packages, by {service}")
    if skipped:
        more = f" and {len(skipped) - _SHOWN} more" if len(skipped) > _SHOWN else ""
        print(f"audit: NOT AUDITED, unknown to {service}: {', '.join(skipped[:_SHOWN])}{more}")
    return 1 if known else 0


if __name__ == "__main__":
    sys.exit(main())
