# Copyright 2026 The lerobot_policy_wallwm authors. Licensed under the Apache License, Version 2.0.
"""A self-contained HTML page: inline style, no script, no request to anywhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from html import escape
from pathlib import Path

STYLE = """
:root { color-scheme: light dark; --ink: #1c2024; --soft: #5b6570; --paper: #ffffff; --card: #f5f6f8; --line: #dde1e6;
  --accent: #0b63b5; --good: #12805c; --care: #96690a; --bad: #b3401f; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --soft: #9aa4af; --paper: #14171a; --card: #1d2126;
  --line: #333a42; --accent: #6db3f2; --good: #4cc38a; --care: #e0b252; --bad: #f0916f; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2.2rem 1.2rem 4rem; max-width: 62rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .4rem; letter-spacing: -.01em; }
h2 { font-size: 1.3rem; margin: 3rem 0 .3rem; padding-top: 1rem; border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.6rem 0 .3rem; }
p { margin: .5rem 0; max-width: 46rem; }
.lead, .note, figcaption, .small { color: var(--soft); }
.note, figcaption, .small { font-size: .88rem; }
nav { margin: 1rem 0 0; font-size: .9rem; } nav a { margin-right: 1rem; white-space: nowrap; } a { color: var(--accent); }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(11.5rem, 1fr)); gap: .7rem; margin: 1.3rem 0; }
.figure { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .75rem .9rem; }
.figure b { display: block; font-size: 1.5rem; line-height: 1.25; font-variant-numeric: tabular-nums; }
.figure span { font-size: .85rem; color: var(--soft); display: block; }
.good b { color: var(--good); } .care b { color: var(--care); } .bad b { color: var(--bad); }
.verdict { background: var(--card); border: 1px solid var(--line); border-left: .5rem solid; border-radius: .6rem; padding: .9rem 1.2rem;
  margin: 1.2rem 0; } .verdict b { display: block; font-size: 2.3rem; line-height: 1.2; } .verdict ul { margin: .5rem 0 0;
  padding-left: 1.2rem; } .verdict li { margin: .25rem 0; } .verdict.good { border-left-color: var(--good); }
.verdict.care { border-left-color: var(--care); } .verdict.bad { border-left-color: var(--bad); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .9rem; margin: .7rem 0; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .32rem .9rem .32rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; color: var(--soft); } td.n, th.n { text-align: right; }
svg { width: 100%; height: auto; display: block; margin: .4rem 0; } svg text { font-family: inherit; }
figure { margin: .6rem 0 1.3rem; } figcaption { margin-top: .3rem; }
.strip { display: flex; flex-wrap: wrap; gap: .45rem; padding: .2rem 0; } .strip figure { margin: 0; flex: 0 0 auto; }
.strip img { display: block; border-radius: .3rem; image-rendering: pixelated; }
.strip figcaption { font-size: .74rem; line-height: 1.25; max-width: 12rem; }
.pair { display: grid; grid-template-columns: 5.5rem 1fr; align-items: center; gap: .35rem; font-size: .85rem; color: var(--soft); }
.videos { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: 1rem; }
.strip.row { flex-wrap: nowrap; overflow-x: auto; }
.film { max-width: 30rem; }
video { width: 100%; border-radius: .5rem; background: #000; image-rendering: pixelated; display: block; }
.chip { display: inline-block; padding: 0 .55rem; margin: .12rem .2rem .12rem 0; border-radius: 1rem; font-size: .8rem;
  border: 1px solid var(--line); color: var(--soft); } .chip.on { color: var(--good); border-color: currentColor; }
.bar { display: flex; gap: 2px; margin: 2px 0; } .bar span { flex-basis: 0; min-width: 0; padding: .2rem .4rem; border-radius: .25rem;
  font-size: .76rem; line-height: 1.25; overflow: hidden; background: var(--card); border-left: 3px solid var(--c, var(--line)); }
pre { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .8rem; font-size: .8rem;
  white-space: pre-wrap; overflow-wrap: anywhere; }
"""


def text(value: object) -> str:
    """Escapes a value for HTML."""
    return escape(str(value))


def figure_card(value: str, label: str, verdict: bool | None = None) -> str:
    """A big figure with what it means; ``verdict`` colours it as met or missed."""
    kind = "" if verdict is None else " good" if verdict else " bad"
    return f'<div class="figure{kind}"><b>{text(value)}</b><span>{text(label)}</span></div>'


def table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table; all columns but the first are aligned right where they hold numbers or figures with units."""
    numeric = [
        column > 0 and all(_is_figure(row[column]) for row in rows) and bool(rows)
        for column in range(len(header))
    ]
    head = "".join(
        f'<th class="n">{text(h)}</th>' if n else f"<th>{text(h)}</th>"
        for h, n in zip(header, numeric, strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="n">{text(v)}</td>' if n else f"<td>{text(v)}</td>"
            for v, n in zip(row, numeric, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _is_figure(value: object) -> bool:
    return str(value)[:1].isdigit() or str(value)[:1] in ("-", "–")


def captioned(content: str, caption: str) -> str:
    """A figure with its caption; ``content`` is HTML."""
    return f"<figure>{content}<figcaption>{text(caption)}</figcaption></figure>"


def image(uri: str, alt: str, width: int) -> str:
    """A picture by data URI, ``width`` CSS pixels wide."""
    return f'<img src="{uri}" alt="{text(alt)}" width="{width}">'


def video(uri: str) -> str:
    """A looping, silent video by data URI."""
    return f'<video src="{uri}" controls loop muted playsinline></video>'


def strip(items: Sequence[tuple[str, str]], width: int = 96, row: bool = False) -> str:
    """Pictures ``(data URI, caption)`` side by side.

    Args:
        items: The pictures.
        width: Of each, in CSS pixels.
        row: Keep them in one row that scrolls, instead of wrapping.
    """
    pictures = "".join(captioned(image(uri, label or "frame", width), label) for uri, label in items)
    return f'<div class="strip{" row" if row else ""}">{pictures}</div>'


def section(anchor: str, title: str, explanation: str, *content: str) -> str:
    """A titled section; ``explanation`` is plain text, ``content`` HTML."""
    return (
        f'<section id="{anchor}"><h2>{text(title)}</h2><p>{text(explanation)}</p>{"".join(content)}</section>'
    )


def document(
    title: str, lead: str, sections: Sequence[str], navigation: Sequence[tuple[str, str]], head: str = ""
) -> str:
    """The whole page.

    Args:
        title: Plain text.
        lead: Plain text below the title.
        sections: HTML.
        navigation: ``(anchor, label)`` of the sections.
        head: HTML between lead and sections.
    """
    links = "".join(f'<a href="#{anchor}">{text(label)}</a>' for anchor, label in navigation)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{text(title)}</title><style>{STYLE}</style></head>\n<body><header><h1>{text(title)}</h1>"
        f'<p class="lead">{text(lead)}</p></header>{head}<nav>{links}</nav>\n'
        + "\n".join(sections)
        + "</body></html>\n"
    )


def write_page(path: Path, html: str) -> None:
    """Writes the page; it appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    partial.write_text(html, encoding="utf-8")
    os.replace(partial, path)
