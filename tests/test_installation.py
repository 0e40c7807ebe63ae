"""Settings and secrets of an installation: each fault is one clear error."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.installation import Installation, InstallationError, read_installation


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return read_installation({"GATECAST_STATE": str(tmp_path / "state")})


def test_secrets_are_kept(installation: Installation) -> None:
    assert installation.read_secrets() is None
    installation.ensure_secrets()
    secrets = installation.read_secrets()
    installation.ensure_secrets()
    assert installation.read_secrets() == secrets is not None


@pytest.mark.parametrize("port", ["0", "65536", "http", "-1"])
def test_a_wrong_port_is_an_error_with_an_example(port: str) -> None:
    with pytest.raises(InstallationError, match=f"PREFECT_PORT .*, got '{port}'. Example: GATECAST_PREFECT_PORT=4200"):
        read_installation({"GATECAST_PREFECT_PORT": port})


def test_a_line_that_is_no_setting_is_named_but_not_shown(installation: Installation) -> None:
    installation.ensure_secrets()
    installation.server_file.write_text("# comment\n\nPOSTGRES_PASSWORD planted\n")
    with pytest.raises(InstallationError, match=r"server\.env, line 3: must be NAME=value") as caught:
        installation.read_secrets()
    assert "planted" not in str(caught.value)
    with pytest.raises(InstallationError, match="line 3"):
        installation.environment(installation.server_file)


@pytest.mark.parametrize("name", ["POSTGRES_PASSWORD", "PREFECT_SERVER_API_AUTH_STRING"])
def test_a_missing_secret_is_named_with_its_file(installation: Installation, name: str) -> None:
    installation.ensure_secrets()
    lines = installation.server_file.read_text().splitlines(keepends=True)
    installation.server_file.write_text("".join(line for line in lines if not line.startswith(f"{name}=")))
    with pytest.raises(InstallationError, match=f"server.env has no line {name}="):
        installation.read_secrets()
