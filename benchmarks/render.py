"""Rendering against plain WeasyPrint with matplotlib, same content, same run.

Builds a pack of about 41 pages with 20 vector figures and 20 tables of 30 rows, renders it with
``countermark.report.render`` and with a plain page (matplotlib SVG, one HTML string, ``write_pdf``) that shows the
same figures, tables and prose, and prints seconds, CPU seconds, peak memory and the ratio.

    python benchmarks/render.py            # both sides, one run each
    python benchmarks/render.py --repeat 3 # best of three
"""

from __future__ import annotations

import argparse
import html
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from tests.report import builders  # noqa: E402

from countermark.records.digest import pretty_json  # noqa: E402
from countermark.records.evidence import Block, Figure, Pack, Paragraph, Section, Table  # noqa: E402
from countermark.records.formats import format_value  # noqa: E402
from countermark.report.reading import read_pack  # noqa: E402
from countermark.report.render import render  # noqa: E402

FIGURES = (
    builders.vintage_figure,
    builders.reliability_figure,
    builders.grade_figure,
    builders.psi_figure,
    builders.importance_figure,
)
PROSE = (
    "The test compares what was observed with what the model implies. Its null hypothesis is that the true rate does "
    "not exceed the estimate; a small p therefore speaks against the model, and raw and adjusted values are printed. "
)


def bench_pack(sections: int = 20, rows: int = 30) -> Pack:
    """A pack of the stated size: one figure, one table and prose per section."""
    made = []
    for k in range(sections):
        code = f"E{k + 1}"
        blocks: list[Block] = [
            Paragraph(text=PROSE * 4),
            FIGURES[k % len(FIGURES)](f"{code}-F1"),
            Paragraph(text=PROSE * 5),
            builders.grade_table(f"{code}-T1", rows),
            Paragraph(text=PROSE * 3),
        ]
        made.append(
            Section(
                code=code,
                title=f"Evidence {k + 1}",
                light=builders.PASS,
                conclusion="The result is inside its limit.",
                would_change="A worse result on a larger sample.",
                so_what="Nothing has to be done.",
                blocks=tuple(blocks),
            )
        )
    return builders.pack(sections=tuple(made), register_rows=builders.register(12))


def plain_svg(figure: Figure) -> str:
    """The same figure by matplotlib, text kept as text."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.fonttype"] = "none"
    mpl.rcParams["svg.hashsalt"] = "countermark"
    from matplotlib import pyplot as plt

    canvas, axes = plt.subplots(figsize=(6.7, 2.7))
    for one in figure.series:
        x = list(one.x)
        y = [float("nan") if v is None else v for v in one.y]
        if figure.chart == "bars":
            axes.barh(x, y)
        elif one.mark == "bars":
            axes.bar(x, y)
        elif one.low is not None and one.high is not None and len(x) > 40:
            axes.plot(x, y, label=one.name)
            axes.fill_between(x, [v or 0 for v in one.low], [v or 0 for v in one.high], alpha=0.2)
        elif one.low is not None and one.high is not None:
            spread = [[b - (a or 0) for a, b in zip(one.low, y, strict=True)],
                      [(a or 0) - b for a, b in zip(one.high, y, strict=True)]]  # fmt: skip
            axes.errorbar(x, y, yerr=spread, marker="o", label=one.name)
        else:
            axes.plot(x, y, marker="o" if one.mark == "points" else None, label=one.name)
    axes.set_xlabel(figure.x_label)
    axes.set_ylabel(figure.y_label)
    axes.tick_params(axis="x", rotation=45)
    axes.grid(visible=True, alpha=0.3)
    canvas.tight_layout()
    stream = io.StringIO()
    canvas.savefig(stream, format="svg", metadata={"Date": None})
    plt.close(canvas)
    text = stream.getvalue()
    return text[text.index("<svg") :]


def plain_html(pack: Pack) -> str:
    """The same content as one plain HTML string."""
    parts = [
        "<!DOCTYPE html><html lang=en><title>Pack</title><style>@page{size:A4;margin:23mm 20mm}"
        "body{font:10pt Inter,sans-serif;line-height:1.45}table{width:100%;border-collapse:collapse;font-size:8pt}"
        "td,th{padding:1mm 1.5mm;border-bottom:.4pt solid #ddd;text-align:right}section{break-before:page}"
        "tr{break-inside:avoid}svg{width:100%;height:auto}</style>"
    ]
    for section in pack.sections:
        parts.append(f"<section><h1>{section.code} {html.escape(section.title)}</h1><p>{section.conclusion}</p>")
        for block in section.blocks:
            if isinstance(block, Figure):
                parts.append(
                    f"<figure>{plain_svg(block)}<figcaption>{html.escape(block.caption)}</figcaption></figure>"
                )
            elif isinstance(block, Table):
                heads = "".join(f"<th>{html.escape(c.label)}</th>" for c in block.columns)
                rows = "".join(
                    "<tr>" + "".join(f"<td>{format_value(row[c.key], c.format)}</td>" for c in block.columns) + "</tr>"
                    for row in block.rows
                )
                parts.append(f"<table><caption>{html.escape(block.caption)}</caption><thead><tr>{heads}</tr></thead>"
                             f"<tbody>{rows}</tbody></table>")  # fmt: skip
            elif isinstance(block, Paragraph):
                parts.append(f"<p>{html.escape(block.text)}</p>")
        parts.append("</section>")
    return "".join(parts)


def run_plain(pack_file: Path) -> None:
    """Child process: render the plain page and print its figures."""
    started, cpu = time.perf_counter(), time.process_time()
    import weasyprint

    document = weasyprint.HTML(string=plain_html(read_pack(pack_file.read_bytes()))).render(
        pdf_variant="pdf/a-3a", output_intent="srgb"
    )
    data = document.write_pdf(pdf_variant="pdf/a-3a", output_intent="srgb")
    print(json.dumps({
        "seconds": time.perf_counter() - started,
        "cpu": time.process_time() - cpu,
        "pages": len(document.pages),
        "size": len(data),
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }))  # fmt: skip


def measure_plain(pack_file: Path) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, __file__, "--plain", str(pack_file)], capture_output=True, check=True, env={**os.environ}
    )
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def measure_ours(raw: bytes, out: Path) -> dict[str, float]:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    stats = render(raw, out)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "seconds": time.perf_counter() - started,
        "cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        "pages": stats.pages,
        "size": stats.size,
        "memory": stats.peak_memory,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--plain", type=Path)
    options = parser.parse_args()
    if options.plain is not None:
        run_plain(options.plain)
        return 0
    pack = bench_pack()
    raw = pretty_json(pack.model_dump(mode="json"))
    with tempfile.TemporaryDirectory() as folder:
        source, out = Path(folder) / "pack.json", Path(folder) / "pack.pdf"
        source.write_bytes(raw)
        ours, plain = [], []
        for _ in range(options.repeat):
            ours.append(measure_ours(raw, out))
            plain.append(measure_plain(source))
    best, other = (min(runs, key=lambda run: run["seconds"]) for runs in (ours, plain))
    print("20 vector figures, 20 tables of 30 rows")
    print(f"{'':12} {'seconds':>8} {'cpu s':>7} {'pages':>6} {'MB peak':>8} {'kB file':>8}")
    for name, run in (("countermark", best), ("plain", other)):
        print(f"{name:12} {run['seconds']:8.2f} {run['cpu']:7.2f} {run['pages']:6.0f} "
              f"{run['memory'] / 1e6:8.0f} {run['size'] / 1e3:8.0f}")  # fmt: skip
    print(f"ratio        {other['seconds'] / best['seconds']:8.2f} {other['cpu'] / best['cpu']:7.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
