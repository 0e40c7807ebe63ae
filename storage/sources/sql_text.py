"""Text of SQL queries: named parameters, and what ends a statement."""

from __future__ import annotations

import re

# Group `other` matches text in which a colon is no parameter: string literals, quoted names, comments, dollar quotes
# and casts. Group `name` matches a parameter.
_TOKENS = re.compile(
    r"""(?P<other>[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|"(?:[^"]|"")*"|(?P<comment>--[^\n]*|/\*.*?\*/)"""
    r"""|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$|::)"""
    r"""|:(?P<name>since|until)\b""",
    re.DOTALL,
)


def bind(query: str, placeholder: str) -> tuple[str, list[str]]:
    """Return a query with numbered placeholders in place of `:since` and `:until`, and the parameters' names.

    Args:
        query: Query with named parameters.
        placeholder: Form of a placeholder: '?{}' gives ?1 and ?2.
    """
    names: list[str] = []

    def replace(match: re.Match[str]) -> str:
        name = match["name"]
        if name is None:
            return match[0]
        if name not in names:
            names.append(name)
        return placeholder.format(names.index(name) + 1)

    return _TOKENS.sub(replace, query), names


def parameter_names(query: str) -> list[str]:
    """Return which of the parameters `since` and `until` a query has."""
    return bind(query, "{}")[1]


def without_end(query: str) -> str:
    """Return a query without the semicolon and the comments at its end, so that it can be part of another."""
    bare = _TOKENS.sub(lambda match: " " * len(match[0]) if match["comment"] else match[0], query)
    return query[: len(bare.rstrip("; \t\r\n"))]
