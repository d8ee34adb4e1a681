"""Records of speed, and that the tables in README and docs are what the records say."""

from __future__ import annotations

import json
import re
import statistics
from dataclasses import fields
from pathlib import Path

import pytest

import speeds
from records import RESULTS, Figure, Results, load, slug

FILES = sorted(RESULTS.glob("*.json"))


@pytest.mark.parametrize("page", [path for path in speeds.PAGES if "<!-- speeds: " in path.read_text()], ids=str)
def test_tables_are_made_of_the_records(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert speeds.filled(text) == text, f"run: python tools/docs/speeds.py, which writes {page.name}"
    assert text.count("<!-- speeds: ") == text.count("<!-- end of speeds -->")


def test_a_changed_record_or_table_is_found() -> None:
    page = speeds.filled("<!-- speeds: cpu-all -->\nstale\n<!-- end of speeds -->\n")
    assert "stale" not in page
    assert speeds.filled(page) == page
    altered = re.sub(r"(\d)(?= steps/s)", lambda digit: str((int(digit[1]) + 1) % 10), page, count=1)
    assert altered != page
    assert speeds.filled(altered) == page


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_records_are_whole(file: Path) -> None:
    records = load(file)
    assert [record["name"] for record in records] == sorted({record["name"] for record in records})
    for record in records:
        assert set(record) == {field.name for field in fields(Figure)} | {"machine", "versions"}
        low, high = record["spread"]
        assert low <= record["value"] <= high
        assert record["n"] >= 1
        assert file.name.startswith(slug(record["machine"]))
        assert {"python", "torch"} <= set(record["versions"])
        alone = [record[key] is None for key in ("alternative", "alternative_value", "ratio")]
        assert all(alone) or not any(alone)
        if record["ratio"] is not None:
            quotient = record["value"] / record["alternative_value"]
            faster = quotient if record["unit"].endswith(("/s", "/h")) else 1 / quotient
            # TFLOP/s is a share of the alternative's; of steps per second and of times it is how often faster.
            assert record["ratio"] == pytest.approx(faster, rel=1e-6), record["name"]


def test_a_figure_is_a_median_and_is_written_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = Results(tmp_path)
    values = [3.0, 1.0, 2.5]
    results.add(Figure.of("a/b", "words", values, "ms", alternative="other", alternative_value=5.0, ratio=2.0))
    results.add(Figure.of("a/a", "more words", [7.0], "s"))
    [file] = tmp_path.iterdir()
    first, second = json.loads(file.read_text())
    assert (first["name"], second["name"]) == ("a/a", "a/b")
    assert (second["value"], second["n"], second["spread"]) == (statistics.median(values), 3, [1.0, 3.0])
    assert "a/b: 2.5 ms (1–3, n = 3), 2 × other (5); words" in capsys.readouterr().out
    results.add(Figure.of("a/b", "words", [4.0], "ms"))
    assert [record["value"] for record in load(file)] == [7.0, 4.0]


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Results().add(Figure.of("a", "words", [1.0], "s"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.2537, "0.254"), (479.9, "480"), (1112.4, "1,112"), (0.00512, "0.00512"), (0, "0"), (5, "5.00")],
)
def test_numbers_have_three_digits(value: float, text: str) -> None:
    assert speeds.number(value) == text


def test_the_newest_record_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for date, value in (("2026-01-02", 1.0), ("2026-03-04", 2.0)):
        record = {"name": "x", "value": value}
        (tmp_path / f"m-{date}.json").write_text(json.dumps([record, {"name": f"y{value:.0f}", "value": value}]))
    monkeypatch.setattr(speeds, "RESULTS", tmp_path)
    assert [(r["name"], r["value"], r["date"]) for r in speeds.records_of("m")] == [
        ("x", 2.0, "2026-03-04"),
        ("y1", 1.0, "2026-01-02"),
        ("y2", 2.0, "2026-03-04"),
    ]
