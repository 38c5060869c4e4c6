"""Names and metadata as text that deceives nobody: what cannot be seen is spelled out. Decides nowhere what is shown."""

from __future__ import annotations

import html


def visible(text: str) -> str:
    """Text with what cannot be seen (line breaks, marks that turn the reading direction) spelled out."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def visible_html(text: str) -> str:
    """The same as HTML text or an attribute's value, never markup."""
    return html.escape(visible(text))


def one_line(path: str) -> str:
    """A path as one line of a command's output: undecodable bytes, line breaks and what a terminal would obey spelled out."""
    return visible(path.encode("utf-8", "backslashreplace").decode())
