"""One HTML file that needs nothing else: a template, what its scripts draw, and a policy that runs only these."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from importlib.resources import files
from typing import Any

from flows.page.number_format import figure, percent, ratio
from flows.page.payload import pack


def write(template: str, scripts: tuple[str, ...], content: dict[str, Any], **values: Any) -> str:
    """The page of a template of `assets`, its scripts, the `content` that they unpack, and the template's `values`."""
    texts = [_bundle(), *(_asset(name) for name in scripts)]
    return _template(template).render(
        **values, packed=pack(content), style=_asset("page.css"), scripts=texts,
        hashes=[_hash(text) for text in texts],
    )  # fmt: skip


def _template(name: str) -> Any:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("flows.page", "assets"), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters |= {
        "percent": percent,
        "ratio": ratio,
        "figure": figure,
        # The verb stands in front of the reason already.
        "after_verb": lambda reason: re.sub(r"^(promoted|refused): ", "", reason),
    }
    return environment.get_template(name)


def _asset(name: str) -> str:
    return (files("flows.page") / "assets" / name).read_text(encoding="utf-8")


@cache
def _bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed in one script, for the Vega-Lite that Altair writes."""
    import altair
    import vl_convert

    version = ".".join(altair.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=version)


def _hash(script: str) -> str:
    """What the page's own policy allows to run, and nothing else."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
