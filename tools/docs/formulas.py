"""Formulas: the LaTeX that pymdownx.arithmatex marks, as MathML, which browsers draw without any script."""

from __future__ import annotations

import html
import re

from latex2mathml.converter import convert

_MARKED = re.compile(r'<(span|div) class="arithmatex">\\([(\[])(.*?)\\[)\]]</\1>', re.DOTALL)


def to_mathml(page: str) -> str:
    """HTML with all of its formulas converted."""

    def replace(match: re.Match[str]) -> str:
        tag, bracket, latex = match.groups()
        display = "block" if bracket == "[" else "inline"
        # As characters, which are raised already; as superscripts primes would be raised twice.
        source = html.unescape(latex).strip().replace("''", "″").replace("'", "′")
        return f'<{tag} class="formula">{convert(source, display=display)}</{tag}>'

    return _MARKED.sub(replace, page)
