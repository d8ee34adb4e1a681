"""The documentation's generated pages have everything in them, and its links lead somewhere; needs no mkdocs."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import commands
import configuration
import links
import notebook_page
import stochastic_collapse
from stochastic_collapse.cli import cli
from stochastic_collapse.config import json_schema

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))


# --- generated references -------------------------------------------------------------------------------------------


def settings_of(schema: Mapping[str, Any], group: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All settings by their dotted names, found otherwise than the page finds them: every reference is followed."""
    for key, field in group["properties"].items():
        text = json.dumps(field)
        references = re.findall(r'"\$ref": "#/\$defs/(\w+)"', text)
        if not references:
            yield prefix + key, field
        inside = f"{prefix}{key}.<name>." if "additionalProperties" in text.split('"$ref"')[0] else f"{prefix}{key}."
        for name in dict.fromkeys(references):
            yield from settings_of(schema, schema["$defs"][name], inside)


@pytest.mark.parametrize("kind", configuration.KINDS)
def test_the_configuration_page_has_every_setting(kind: str) -> None:
    schema = json_schema(configuration.KINDS[kind])
    rows = re.findall(r"^\| `([^`]+)` \| (.+?) \| (.+?) \| (.*?) \|$", configuration.reference(kind), re.MULTILINE)
    assert {name for name, _ in settings_of(schema, schema)} <= {name for name, *_ in rows}
    for name, values, default, meaning in rows:
        assert values, name
        assert default, name
        assert meaning, f"{name} needs a docstring"


def test_the_configuration_page_includes_every_kind() -> None:
    page = (DOCS / "reference" / "configuration.md").read_text(encoding="utf-8")
    assert re.findall(r"^\{\{ settings: (\w+) \}\}$", page, re.MULTILINE) == list(configuration.KINDS)


def test_rows_say_type_default_and_meaning() -> None:
    page = configuration.reference("train")
    assert "| `optimizer.lr` | number > 0 | required | Learning rate after warm-up. |" in page
    assert "| `schedule.name` | `constant`, `multistep`, `cosine`, `linear` | `constant` |" in page
    assert "| `threads` | integer ≥ 1 or `auto` | `auto` |" in page
    assert "| `optimizer.betas` | list of 2: number ≥ 0, < 1 | `[0.9, 0.999]` |" in page
    assert "[below](#train-from)" in page
    assert "{ #train-from }" in page


def test_the_command_page_has_every_command_and_option() -> None:
    page = commands.reference()
    for name, command in cli.commands.items():
        section = page.partition(f"## sc {name} {{ #{name} }}")[2].partition("\n## ")[0]
        assert f"```text\nsc {name} " in section
        assert re.search(r"^Examples?:\n\n```sh\nsc ", section, re.MULTILINE), f"sc {name} has no example"
        for parameter in command.params:
            for option in (option for option in parameter.opts if option.startswith("--")):
                assert option in section


# --- the notebook ---------------------------------------------------------------------------------------------------


def test_the_notebook_is_stored_with_its_output() -> None:
    cells = json.loads((DOCS / "tour.ipynb").read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1)), "run make tour"
    page, pictures = notebook_page.to_markdown(DOCS / "tour.ipynb")
    assert all(f"]({name})" in page and content.startswith(b"\x89PNG") for name, content in pictures.items())
    assert len(pictures) == 3
    assert "\n```text\n" in page
    assert "Error" not in page


# --- links ----------------------------------------------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """The anchors that are set by name, and those that headings get."""
    headings = re.findall(r"^#+ (.+?)(?: \{ #.+ \})?$", text, re.MULTILINE)
    slugs = {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}
    return slugs | set(re.findall(r"\{ #(\S+) \}", text))


def test_links_between_pages_lead_somewhere() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in PAGES}
    texts[DOCS / "tour.md"] = notebook_page.to_markdown(DOCS / "tour.ipynb")[0]
    pictures = {DOCS / name for name in notebook_page.to_markdown(DOCS / "tour.ipynb")[1]}
    for path, text in texts.items():
        prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
        for url in re.findall(r"\]\(([^)\s]+)\)", prose):
            if url.startswith("https://"):
                continue
            file, _, anchor = url.partition("#")
            target = (path.parent / file).resolve() if file else path
            target = DOCS / target.relative_to(DOCS.resolve()) if target.is_relative_to(DOCS.resolve()) else target
            assert target in texts or target in pictures or target.is_file(), f"{path}: {url}"
            assert not anchor or anchor in anchors(texts[target]), f"{path}: {url}"


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2].partition("\n\n")[0]
    assert set(re.findall(r"[\w/-]+\.md", navigation)) == {
        str(path.relative_to(DOCS)) for path in [*PAGES, DOCS / "tour.md"]
    }


def test_public_modules_have_an_api_page() -> None:
    pages = {path.stem for path in (DOCS / "reference" / "api").glob("*.md")}
    homes = set(stochastic_collapse._HOME.values()) - {"config", "training"}  # whose public names are the flat ones
    assert homes <= pages


def test_names_that_are_also_modules_are_documented_by_their_full_path() -> None:
    """To mkdocstrings `collapse.effective_rank` is the module: the function has to be named apart."""
    pages = {path.stem: path.read_text(encoding="utf-8") for path in (DOCS / "reference" / "api").glob("*.md")}
    for page in pages.keys() - {"index"}:
        module = importlib.import_module(f"stochastic_collapse.{page}")
        for name in getattr(module, "__all__", []):
            if importlib.util.find_spec(f"{module.__name__}.{name}") is not None:
                assert f"::: {module.__name__}.{name}.{name}\n" in pages[page]


def test_the_check_of_the_built_site_finds_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text('<h1 id="top">A</h1><a href="b.html#there">b</a> <a href="https://x.org">x</a>')
    (tmp_path / "b.html").write_text('<h1 id="there">B</h1><a href="a.html#top">a</a> <a href="#there">here</a>')
    assert list(links.problems(tmp_path)) == []
    (tmp_path / "c.html").write_text(
        '<a href="d.html"></a><a href="a.html#no"></a><a href="#no"></a><script src="https://x.org/y.js"></script>'
    )
    assert list(links.problems(tmp_path)) == [
        "c.html: no file d.html",
        "c.html: no anchor a.html#no",
        "c.html: no anchor #no",
        "c.html: <script> fetches https://x.org/y.js",
    ]
