"""Check of the Prefect API that is configured, before a command depends on it."""

from __future__ import annotations

import contextvars
import threading

from prefect.client.orchestration import get_client
from prefect.settings import get_current_settings

from flows.embedded_server import ServerError
from storage.errors import first_line
from storage.redaction import redact


def require_answer(limit: float) -> None:
    """Check that the configured API answers a request that needs its credentials.

    Args:
        limit: Seconds that the answer may take.

    Raises:
        ServerError: There is no answer in time, or not that of a Prefect API.
    """
    errors: list[str] = []

    def ask() -> None:
        try:
            with get_client(sync_client=True) as client:
                client.read_flows(limit=1)
        except Exception as error:
            errors.append(first_line(error, redact))

    # A request of Prefect's client may be repeated for minutes.
    # Prefect's settings belong to a context.
    thread = threading.Thread(target=contextvars.copy_context().run, args=(ask,), daemon=True)
    thread.start()
    thread.join(limit)
    address = redact(str(get_current_settings().api.url))
    if thread.is_alive():
        raise ServerError(f"The Prefect API at {address} did not answer within {limit:g} s. Check PREFECT_API_URL.")
    if errors:
        raise ServerError(
            f"The Prefect API at {address} cannot be used: {errors[0].rstrip('.')}. Check PREFECT_API_URL, "
            "PREFECT_API_KEY and PREFECT_API_AUTH_STRING."
        )
