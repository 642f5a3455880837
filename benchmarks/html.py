"""The report as one page that needs nothing else: no script, no font, no request."""

from __future__ import annotations

from html import escape

from edge_emotion.card import Evaluation

from .figures import Table, machine_line, method_line, tables
from .plots import FEWEST, latency_plot, reliability_plot, steps_plot, trade_plot
from .schema import KERAS, ArtefactResult, BenchReport
from .words import ms, size, threads_word, times

CSS = """
:root { color-scheme: light dark; --paper: #fbfaf7; --card: #ffffff; --ink: #1c1f24;
  --soft: #5b6470; --line: #c9ccd1; --accent: #0072b2; --warn: #a63c00; }
@media (prefers-color-scheme: dark) { :root { --paper: #14171b; --card: #1c2026; --ink: #e9ebee;
  --soft: #a2abb6; --line: #4a515b; --accent: #56b4e9; --warn: #f0a35e; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
main, header, footer { max-width: 56rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 3rem; }
h1 { font-size: clamp(1.6rem, 4.5vw, 2.5rem); line-height: 1.15; margin: 0 0 .6rem;
  letter-spacing: -.02em; text-wrap: balance; }
h1 em { font-style: normal; color: var(--accent); }
h2 { font-size: 1.3rem; margin: 3rem 0 .4rem; letter-spacing: -.01em; }
h3 { font-size: 1rem; margin: 2rem 0 .5rem; }
p.soft, figcaption, footer { color: var(--soft); font-size: .92rem; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .8rem;
  margin: 1.8rem 0; padding: 0; list-style: none; }
.tiles li { background: var(--card); border: 1px solid var(--line); border-radius: .7rem;
  padding: 1rem 1.1rem; }
.tiles strong { display: block; font-size: 1.75rem; line-height: 1.2; letter-spacing: -.02em;
  font-variant-numeric: tabular-nums; }
.tiles span { color: var(--soft); font-size: .88rem; }
.warning { border-left: .3rem solid var(--warn); padding: .5rem 1rem; background: var(--card);
  color: var(--warn); font-weight: 600; }
ul.verdict { padding-left: 1.2rem; } ul.verdict li { margin: .45rem 0; }
figure { margin: 1rem 0 0; background: var(--card); border: 1px solid var(--line);
  border-radius: .7rem; padding: 1rem; }
figure svg { display: block; width: 100%; height: auto; }
figure svg text { font-family: inherit !important; }
figcaption { margin-top: .6rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
.scroll > table { width: 100%; }
th, td { padding: .4rem .7rem; text-align: right; border-bottom: 1px solid var(--line);
  white-space: nowrap; }
th { color: var(--soft); font-weight: 600; vertical-align: bottom; white-space: normal; }
tbody th, td.words, thead th:first-child { text-align: left; }
tbody th { color: var(--ink); white-space: nowrap; }
td.words { white-space: normal; }
tr.best th, tr.best td { color: var(--accent); font-weight: 600; }
.matrices { display: grid; gap: 1rem; }
.matrices figure { overflow-x: auto; margin: 0; padding: .7rem; }
.matrix { width: 100%; table-layout: fixed; overflow-wrap: anywhere; }
.matrix caption { font-weight: 600; padding-bottom: .3rem; }
.matrix th, .matrix td { white-space: normal; padding: .35rem .4rem;
  border: 2px solid var(--card); }
.matrix td, .matrix thead th { text-align: center; }
details { margin-top: 1rem; } summary { cursor: pointer; color: var(--soft); }
footer { padding-top: 2rem; padding-bottom: 3rem; }
@media print { body { background: none; } figure, .tiles li { break-inside: avoid; } }
"""


def html_page(report: BenchReport) -> str:
    """The whole page, UTF-8.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    title = f"{report.model.name} on {report.machine.board or report.machine.cpu}"
    parts = [
        "<header>", _headline(report), _tiles(report), "</header><main>",
        _warning(report),
        "<h2>What it means here</h2>",
        f"<ul class='verdict'>{''.join(f'<li>{escape(v)}</li>' for v in report.verdict)}</ul>",
        "<h2>How long the model takes</h2>",
        _figure(latency_plot(report), _latency_caption(report)),
        "<h2>Where the time from picture to label goes</h2>",
        _figure(steps_plot(report), f"Picture: {report.settings.picture}. Inference is only a "
                "part: decoding and resizing are the same for every artefact."),
        *_quality(report),
        "<h2>All figures</h2>",
        *(_table(report, t) for t in tables(report)),
        "</main>", _footer(report),
    ]  # fmt: skip
    return (
        "<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{escape(title)}</title><style>{CSS}</style></head><body>\n"
        + "\n".join(p for p in parts if p)
        + "\n</body></html>\n"
    )


def _headline(report: BenchReport) -> str:
    where = escape(report.machine.board or report.machine.cpu)
    name = escape(report.model.name)
    if report.recommended is None:
        head = f"{name} on {where}: <em>nothing to deploy</em>"
    else:
        head = f"{name} on {where}: deploy <em>{escape(report.recommended)}</em>"
    return (
        f"<h1>{head}</h1><p class='soft'>{escape(machine_line(report))}. Measured "
        f"<time datetime='{escape(report.created)}'>{escape(report.created[:10])}</time>.</p>"
    )


def _tiles(report: BenchReport) -> str:
    chosen = report.get(report.recommended)
    timing = chosen.timing(report.threads) if chosen else None
    if chosen is None or timing is None:
        return ""
    tiles = [(ms(timing.model.p50), f"model latency, median, {threads_word(report.threads)}")]
    reference = report.get(report.reference) or report.get(KERAS)
    if reference is not None and reference.recipe != chosen.recipe:
        ratio = report.p50(reference) / timing.model.p50
        words = "the float Keras model" if reference.recipe == KERAS else reference.recipe
        tiles.append((times(ratio).replace(" times", "×"), f"as fast as {words}"))
    tiles.append((size(chosen.bytes or 0), f"on disk; {size(timing.peak_rss)} of memory"))
    if chosen.evaluation is not None:
        low, high = chosen.evaluation.accuracy_interval
        kind = "training-set accuracy" if chosen.evaluation.caveat else "accuracy"
        tiles.append(
            (f"{chosen.evaluation.accuracy:.1%}", f"{kind}; 95 %: {low:.1%} to {high:.1%}")
        )
    elif chosen.agreement is not None:
        a = chosen.agreement
        tiles.append((f"{a.label_agreement:.1%}", f"labels as {report.reference}, {a.samples} "
                      "pictures"))  # fmt: skip
    cells = "".join(f"<li><strong>{escape(v)}</strong><span>{escape(w)}</span></li>"
                    for v, w in tiles)  # fmt: skip
    return f"<ul class='tiles'>{cells}</ul>"


def _warning(report: BenchReport) -> str:
    if report.data.protocol != "training-set":
        return ""
    return (
        "<p class='warning'>Training-set figures: the model was trained or validated on "
        f"{report.data.trained_on} of these {report.data.samples} pictures. The accuracies below "
        "do not say how it does on new ones.</p>"
    )


def _latency_caption(report: BenchReport) -> str:
    return (
        f"{threads_word(report.threads)}. Marker: median of {report.settings.total_runs} runs. "
        "Thick bar: the middle half of the runs; thin line: 5th to 95th percentile."
    )


def _quality(report: BenchReport) -> list[str]:
    if report.data.kind == "none":
        return []
    labelled = report.data.kind == "labelled"
    if not labelled and report.reference is None:
        return []  # nothing to agree with
    caption = f"{report.data.samples} pictures: {report.data.name}."
    if not labelled:
        caption += " They have no labels: this is agreement with the float model, not accuracy."
    parts = [
        f"<h2>What the export cost in {'accuracy' if labelled else 'agreement'}</h2>",
        _figure(trade_plot(report), caption),
    ]
    if labelled:
        wide = 5 + 4 * len(report.model.labels)
        matrices = "".join(_matrix(a, a.evaluation) for a in report.measured if a.evaluation)
        parts += [
            "<h2>What is taken for what</h2>",
            "<p class='soft'>Rows: true label. Columns: predicted. The stronger the "
            "colour, the larger the share of the row.</p>",
            "<div class='matrices' style='grid-template-columns: repeat(auto-fit, "
            f"minmax(min(100%, {wide}rem), 1fr))'>{matrices}</div>",
            "<h2>Whether its probabilities can be trusted</h2>",
            _figure(
                reliability_plot(report),
                "On the dashed line a probability is right as often as it says. Below it the "
                "model is too sure of itself. Bins with fewer than "
                f"{FEWEST} pictures are not drawn.",
            ),
        ]
    return parts


def _matrix(artefact: ArtefactResult, evaluation: Evaluation) -> str:
    labels = [escape(label) for label in evaluation.per_label]
    head = "".join(f"<th scope='col'>{label}</th>" for label in labels)
    body = ""
    for label, counts in zip(labels, evaluation.confusion, strict=True):
        whole = sum(counts) or 1
        cells = "".join(_matrix_cell(count, count / whole) for count in counts)
        body += f"<tr><th scope='row'>{label}</th>{cells}</tr>"
    caveat = f" ({escape(evaluation.protocol)})" if evaluation.caveat else ""
    return (
        f"<figure><table class='matrix'><caption>{escape(artefact.recipe)}{caveat}</caption>"
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table></figure>"
    )


def _matrix_cell(count: int, share: float) -> str:
    colour = "; color: #fff" if share > 0.5 else ""
    return (
        f"<td style='background: rgb(0 114 178 / {share:.2f}){colour}' "
        f"title='{share:.1%} of the row'>{count}</td>"
    )


def _figure(svg: str, caption: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _table(report: BenchReport, table: Table) -> str:
    words = table.title == "Not measured"
    head = "".join(f"<th scope='col'>{escape(name)}</th>" for name in table.header)
    body = ""
    for first, *cells in table.rows:
        best = " class='best'" if first == report.recommended else ""
        kind = " class='words'" if words else ""
        body += f"<tr{best}><th scope='row'>{escape(first)}</th>"
        body += "".join(f"<td{kind}>{escape(cell)}</td>" for cell in cells) + "</tr>"
    return (
        f"<h3>{escape(table.title)}</h3><div class='scroll'><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _footer(report: BenchReport) -> str:
    machine = report.machine
    packages = ", ".join(f"{name} {version}" for name, version in machine.packages.items())
    left_out = "; ".join(f"{n} {reason}" for reason, n in report.data.left_out.items())
    model = report.model
    lines = [
        f"How it was measured: {method_line(report)}",
        f"{machine.os}. {packages}.",
        f"Model: {model.parameters:,} parameters, {model.multiply_adds / 1e6:.1f} M multiply-adds, "
        f"labels {', '.join(model.labels)}. Keras file SHA-256 {model.keras_sha256[:16]}…",
        *([f"Pictures not used: {left_out}."] if left_out else []),
        "The labels name expressions that are shown, not what a person feels.",
    ]
    return "<footer>" + "".join(f"<p>{escape(line)}</p>" for line in lines) + "</footer>"
