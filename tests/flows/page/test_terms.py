"""Tests of the explanations of terms."""

from __future__ import annotations

import html
from pathlib import Path

from flows.page.terms import TERMS, explained


def test_the_first_place_of_a_term_has_an_explanation() -> None:
    text = explained("Pinball of <b>: pinball, skills, skill", "pinball", "skill")
    meaning = html.escape(TERMS["skill"])
    assert text == (
        f'<abbr class="term" title="{TERMS["pinball"]}">Pinball</abbr> of &lt;b&gt;: pinball, skills, '
        f'<abbr class="term" title="{meaning}">skill</abbr>'
    )
    assert explained("<no term>") == "&lt;no term&gt;"


def test_terms_are_those_of_the_glossary() -> None:
    glossary = (Path(__file__).parents[3] / "docs/glossary.md").read_text().lower()
    for term in TERMS:
        assert f"| {term.removeprefix('80% ')} |" in glossary, term
