"""The page that shows all figures with what is behind them: one file, nothing from the network."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

from stochastic_collapse import __version__
from stochastic_collapse.runs import write_atomically

from .records import Record, Source

_PIXELS = 132  # of the page for an inch of a figure
_WIDE = 600  # pixels from which on a figure is not squeezed into a narrow window, but scrolls in it

_STYLE = """
:root {
  color-scheme: light dark;
  --paper: #fdfdfb; --ink: #1d1d1f; --soft: #62625e; --line: #dcdcd6; --card: #f4f4ef; --link: #0b5a8f; --bad: #a8331f;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #161719; --ink: #e3e2de; --soft: #a1a09a; --line: #35363a; --card: #202225; --link: #7fbfe6;
    --bad: #ef8b75;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; -webkit-text-size-adjust: 100%; }
body {
  margin: 0 auto; padding: 3rem 1.25rem 4rem; max-width: 60rem; background: var(--paper); color: var(--ink);
  font: 1.0625rem/1.55 Charter, "Bitstream Charter", "Iowan Old Style", "Source Serif 4", Georgia, serif;
  overflow-wrap: break-word;
}
h1 { margin: 0; font-size: 2rem; font-weight: 600; line-height: 1.2; letter-spacing: -0.01em; }
h2 { margin: 0 0 1.25rem; font-size: 1.35rem; font-weight: 600; line-height: 1.3; text-wrap: balance; }
h3 {
  margin: 0 0 .45rem; font-size: .8rem; font-weight: 600; letter-spacing: .07em; text-transform: uppercase;
  color: var(--soft);
}
p { margin: 0 0 1rem; }
a { color: var(--link); text-decoration-thickness: 1px; text-underline-offset: .15em; }
code, pre { font: .8125rem/1.5 ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
small { display: block; font-size: .85rem; line-height: 1.45; color: var(--soft); }
header p { margin: .6rem 0 1.5rem; color: var(--soft); }
nav { border-block: 1px solid var(--line); padding: .9rem 0; columns: 2 24rem; column-gap: 3rem; }
nav a {
  display: flex; gap: .6rem; padding: .15rem 0; break-inside: avoid; color: inherit; text-decoration: none;
  line-height: 1.35;
}
nav a:hover span:last-child { text-decoration: underline; }
section { margin-top: 4rem; scroll-margin-top: 1.5rem; }
.picture {
  overflow-x: auto; margin: 0 0 1rem; padding: .75rem; background: #fff; border: 1px solid var(--line);
  border-radius: 4px;
}
.picture img { display: block; margin: 0 auto; width: 100%; height: auto; }
.hint { display: none; margin: -.6rem 0 1rem; font-size: .8rem; color: var(--soft); }
.facts {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); gap: 1.5rem 3rem;
  margin-top: 1.75rem; font-size: .95rem;
}
.facts > * { min-width: 0; }
.facts p { margin: 0; }
ul { list-style: none; margin: 0; padding: 0; }
li { display: flex; gap: .6rem; margin-bottom: .5rem; }
.mark { flex: none; width: 1em; color: var(--soft); }
.fails .mark, .fails strong, .problem { color: var(--bad); }
.made { margin-top: 1.5rem; font-size: .95rem; }
.made p { margin: 0 0 .7rem; }
.made code { display: block; margin-bottom: .25rem; padding: .5rem .7rem; background: var(--card); border-radius: 4px; }
.made a ~ small { display: inline; margin-left: .4rem; }
details { margin-top: .4rem; }
summary { cursor: pointer; color: var(--soft); }
pre { margin: .6rem 0 0; padding: .8rem 1rem; overflow-x: auto; background: var(--card); border-radius: 4px; }
footer {
  margin-top: 4rem; padding-top: 1rem; border-top: 1px solid var(--line); font-size: .9rem; color: var(--soft);
}
@media (max-width: 45rem) {
  body { padding: 1.75rem 1rem 3rem; font-size: 1rem; }
  h1 { font-size: 1.6rem; }
  section { margin-top: 3rem; }
  .picture { margin-inline: -1rem; padding: .75rem 1rem; border-inline: 0; border-radius: 0; }
}
@media (max-width: 37rem) {
  .wide img { min-width: 36rem; }
  .wide + .hint { display: block; }
}
@media print { nav, details { display: none; } section { break-inside: avoid; } }
"""


def write_index(path: Path, records: Sequence[Record]) -> None:
    """Write the page about `records` beside their pictures."""
    with write_atomically(path) as temporary:
        temporary.write_text(page(records), encoding="utf-8")


def page(records: Sequence[Record]) -> str:
    """The page as HTML."""
    sizes = [escape(size) for size in dict.fromkeys(record.size for record in records)]
    commands = " and ".join(f"<code>sc figures --all --size {size}</code>" for size in sizes)
    messages = [message for record in records for message in record.messages]
    held = sum(message.holds for message in messages)
    claims = f"all {held} hold" if held == len(messages) else f"{held} of {len(messages)} hold"
    took = duration(sum(record.seconds for record in records))
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Stochastic collapse: the figures</title>
<style>{_STYLE}</style>
<header>
<h1>Stochastic collapse: the figures</h1>
<p>The figures of <a href="https://arxiv.org/abs/2306.04251">arXiv 2306.04251</a>, made anew, and supplements, in the
{" and the ".join(sizes)} size: {took} of computing. Each stands with what
it says, as inequalities on its data; {claims}.</p>
</header>
<nav aria-label="Figures">
{"".join(map(_entry, records))}</nav>
<main>
{"".join(map(_section, records))}</main>
<footer>Made by {commands} of stochastic-collapse {escape(__version__)}. Times are of computing, summed over processes
that ran side by side.</footer>
</html>
"""


def _mark(fine: bool) -> str:
    return f'<span class="mark" role="img" aria-label="{"yes:" if fine else "no:"}">{"✓" if fine else "✗"}</span>'


def _entry(record: Record) -> str:
    fine = not record.problems and all(message.holds for message in record.messages)
    fails = "" if fine else ' class="fails"'
    return f'<a href="#{escape(record.name)}"{fails}>{_mark(fine)}<span>{escape(record.title)}</span></a>\n'


def _section(record: Record) -> str:
    problems = "".join(f'<p class="problem">{escape(problem)}</p>\n' for problem in record.problems)
    says = f"<div><h3>What it says</h3>\n{_messages(record)}</div>\n" if record.messages else ""
    return f"""<section id="{escape(record.name)}">
<h2>{escape(record.title)}</h2>
{problems}{_picture(record)}
<p>{escape(record.caption)}</p>
<div class="facts">
{says}<div><h3>Different from the published one ({escape(record.size)})</h3>
<p>{escape(record.differences)}</p></div>
</div>
{_made(record)}</section>
"""


def _picture(record: Record) -> str:
    if not record.pictures:
        return '<p class="problem">Not drawn.</p>'
    png = next(escape(name) for name in record.pictures if name.endswith(".png"))
    width = round(_PIXELS * record.inches)
    image = f'<img src="{png}" alt="{escape(record.title)}" style="max-width: {width}px">'
    if width < _WIDE:
        return f'<div class="picture"><a href="{png}">{image}</a></div>'
    return f"""<div class="picture wide"><a href="{png}">{image}</a></div>
<p class="hint">Wider than this window: swipe, or tap for the full size.</p>"""


def _messages(record: Record) -> str:
    items = []
    for sentence, measured, holds in record.messages:
        fails, denied = ("", "") if holds else (' class="fails"', "<strong>Does not hold.</strong> ")
        items.append(
            f"<li{fails}>{_mark(holds)}<span>{denied}{escape(sentence)} <small>{escape(measured)}</small></span></li>\n"
        )
    return f"<ul>\n{''.join(items)}</ul>"


def _made(record: Record) -> str:
    """Commands and settings behind the figure; nothing where it was not drawn."""
    if not record.pictures:
        return ""
    files = ", ".join(f'<a href="{escape(name)}">{escape(name)}</a>' for name in record.pictures)
    settings = {name: text for source in record.sources for name, text in source.settings.items()}
    texts = "".join(
        f"<details><summary>{escape(name)}</summary><pre>{escape(text.rstrip())}</pre></details>\n"
        for name, text in settings.items()
    )
    return f"""<div class="made">
<h3>Made by</h3>
{"".join(map(_source, record.sources))}<p>{files} <small>drawn in {duration(record.drawing_seconds)}</small></p>
{texts}</div>
"""


def _source(source: Source) -> str:
    runs = f"{source.runs} run{'s' * (source.runs != 1)}"
    about = ", ".join(filter(None, (runs, duration(source.seconds), source.how)))
    return f"<p><code>{escape(source.command)}</code><small>{escape(about)}</small></p>\n"


def duration(seconds: float) -> str:
    """Such as 0.8 s, 42 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
