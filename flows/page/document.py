"""A page as one HTML file: template, style, scripts, packed data, and a policy that allows only these scripts."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
import shlex
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from flows.page.number_format import format_percent, format_ratio
from flows.page.terms import explained

if TYPE_CHECKING:
    import jinja2


def render_document(
    template: str, scripts: tuple[str, ...], content: Mapping[str, object], values: Mapping[str, object]
) -> str:
    """Return the HTML of a page.

    Args:
        template: Name of a template in `assets`.
        scripts: Names of the page's scripts in `assets`, in order.
        content: Data for the scripts, as JSON values.
        values: Variables of the template.
    """
    script_texts = [_vega_bundle(), *(_asset(name) for name in scripts)]
    return _template(template).render(
        **values, packed=pack_json(content), style=_asset("page.css"), scripts=script_texts,
        hashes=[_policy_hash(text) for text in script_texts],
    )  # fmt: skip


def pack_json(content: Mapping[str, object]) -> str:
    """Return JSON, compressed by gzip, as base64 text. It is safe in any HTML element and deterministic."""
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()


@cache
def _template(name: str) -> jinja2.Template:
    # Only the pages need Jinja, so that other commands do not pay for its import.
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("flows.page", "assets"), autoescape=True, trim_blocks=True, lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.filters |= {
        "percent": format_percent,
        "ratio": format_ratio,
        "capitalised": lambda text: text[:1].upper() + text[1:],
        "shell": shlex.quote,
        "explained": explained,
        # The template writes the decision itself, in front of the reason.
        "without_decision": lambda reason: re.sub(r"^(promoted|refused|not promoted): ", "", reason),
    }
    return environment.get_template(name)


def _asset(name: str) -> str:
    return (files("flows.page") / "assets" / name).read_text(encoding="utf-8")


@cache
def _vega_bundle() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script, in the Vega-Lite version that Altair writes."""
    import altair
    import vl_convert

    version = ".".join(altair.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vl_version=version)


def _policy_hash(script: str) -> str:
    """Return the hash of a script for the page's Content-Security-Policy."""
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
