"""The page about the figures: what stands in it, whole and well-formed, and nothing from elsewhere."""

from __future__ import annotations

import dataclasses
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
from stochastic_collapse.figures.index import duration, page, write_index
from stochastic_collapse.figures.messages import Message
from stochastic_collapse.figures.records import Record, Source, read_records, write_record

VOID = {"meta", "img"}

SOURCE = Source("sc sweep -f a.yaml --size quick", 12, 71.4, "torch 2", {"a.yaml": "name: <a>\n", "b.yaml": "x: 1"})
RECORD = Record(
    "fig4",
    "Figure 4: λ < 1 & more",
    "quick",
    "The caption.",
    "The differences.",
    pictures=["fig4.png", "fig4.pdf"],
    inches=6.75,
    messages=[Message("It holds.", "1 > 0", True)],
    sources=[SOURCE],
    drawing_seconds=0.6,
)
FAILED = Record("fig5", "Figure 5", "quick", "C.", "D.", problems=["engine <x> broke off"])


class Page(HTMLParser):
    """Tags that are closed in order, the text, and what is linked."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        self.links += [value for key, value in attrs if key in ("href", "src") and value is not None]
        self.ids += [value for key, value in attrs if key == "id" and value is not None]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.words += data.split()

    @property
    def text(self) -> str:
        return " ".join(self.words)


def test_what_stands_in_it() -> None:
    found = Page(page([RECORD, FAILED]))
    assert found.open == []
    for text in (
        "Figure 4: λ < 1 & more",
        "The caption.",
        "It holds. 1 > 0",
        "Different from the published one (quick) The differences.",
        "sc sweep -f a.yaml --size quick 12 runs, 1 min 11 s, torch 2",
        "drawn in 0.6 s",
        "a.yaml name: <a>",
        "the quick size: 1 min 12 s of computing.",
        "all 1 hold.",
        "Figure 5 engine <x> broke off Not drawn. C.",
        "sc figures --all --size quick",
    ):
        assert text in found.text
    assert found.ids == ["fig4", "fig5"]
    assert found.text.index("✓") < found.text.index("✗")


def test_its_links_are_beside_it_and_nothing_is_loaded_from_elsewhere() -> None:
    text = page([RECORD])
    links = Page(text).links
    assert links == ["https://arxiv.org/abs/2306.04251", "#fig4", "fig4.png", "fig4.png", "fig4.png", "fig4.pdf"]
    assert "url(" not in text
    assert "<script" not in text
    assert "prefers-color-scheme: dark" in text
    assert 'name="viewport"' in text


def test_what_does_not_hold_is_marked() -> None:
    record = dataclasses.replace(RECORD, messages=[Message("One.", "1", True), Message("Two.", "2", False)])
    found = Page(page([record]))
    assert "1 of 2 hold" in found.text
    assert "✗ Does not hold. Two. 2" in found.text
    assert found.text.count("✓") == 1


def test_narrow_figures_are_not_stretched_and_wide_ones_scroll() -> None:
    assert "max-width: 891px" in page([RECORD])
    assert 'class="picture wide"' in page([RECORD])
    narrow = page([dataclasses.replace(RECORD, inches=3.25)])
    assert "max-width: 429px" in narrow
    assert 'class="picture"' in narrow


def test_two_sizes() -> None:
    assert "the quick and the paper size" in Page(page([RECORD, dataclasses.replace(FAILED, size="paper")])).text


def test_records_are_read_back_and_damaged_ones_left_out(tmp_path: Path) -> None:
    for record in (RECORD, FAILED):
        write_record(tmp_path, record)
    assert read_records(tmp_path, ["fig5", "fig6", "fig4"]) == [FAILED, RECORD]
    (tmp_path / "fig5.json").write_text(json.dumps({"name": "fig5", "of": "another version"}))
    (tmp_path / "fig6.json").write_text("{")
    assert read_records(tmp_path, ["fig5", "fig6", "fig4"]) == [RECORD]
    write_index(tmp_path / "index.html", [RECORD])
    assert (tmp_path / "index.html").read_text(encoding="utf-8") == page([RECORD])


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min 0 s"),
        (200, "3 min 20 s"),
        (3599.7, "1 h 0 min"),
        (7500, "2 h 5 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
