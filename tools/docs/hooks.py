"""What mkdocs does beside its own while it builds the site: generated references, the notebook, formulas, links."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import commands
import configuration
import formulas
import links
import notebook_page

_log = logging.getLogger("mkdocs.hooks.docs")  # in strict mode mkdocs counts its warnings

_MARKER = re.compile(r"^\{\{ (\w+)(?:: (\w+))? \}\}$", re.MULTILINE)

# Docstrings name pages of the documentation by their files; on the site these are links.
_REFERENCE = re.compile(r"\bdocs/([\w/-]+\.md)(?:#([\w-]+))?")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the notebook's page and pictures."""
    for file in list(files):
        if file.src_uri.endswith(".ipynb"):
            page, pictures = notebook_page.to_markdown(Path(config.docs_dir) / file.src_uri)
            files.append(File.generated(config, f"{file.src_uri.removesuffix('.ipynb')}.md", content=page))
            for name, content in pictures.items():
                files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put generated references in place of {{ settings: train }} and {{ commands }}."""

    def generated(match: re.Match[str]) -> str:
        match match.groups():
            case "settings", kind:
                return configuration.reference(kind)
            case "commands", None:
                return commands.reference()
            case _:
                raise ValueError(f"{match[0]}: not a reference that can be generated")

    return _MARKER.sub(generated, markdown)


def on_page_content(html: str, page: Page, files: Files, **_: Any) -> str:
    """Draw formulas, and link the pages that docstrings name."""

    def link(match: re.Match[str]) -> str:
        where, anchor = match.groups()
        target = files.get_file_from_path(where)
        assert target is not None, where
        title = (anchor or target.name).replace("-", " ")
        return f'<a href="{target.url_relative_to(page.file)}{f"#{anchor}" if anchor else ""}">{title}</a>'

    return _REFERENCE.sub(link, formulas.to_mathml(html))


def on_post_build(config: MkDocsConfig) -> None:
    """Check the finished pages, the generated ones too."""
    for problem in links.problems(Path(config.site_dir)):
        _log.warning(problem)
