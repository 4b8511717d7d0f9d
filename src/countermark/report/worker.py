"""The process that renders: a task on the first line of standard input, the content after it."""

from __future__ import annotations

import gc
import json
import logging
import resource
import sys
from pathlib import Path

from countermark.errors import CountermarkError
from countermark.report.document import pack_pdf, portfolio_pdf
from countermark.report.portfolio import read_portfolio
from countermark.report.reading import read_pack


def main() -> int:
    """Render once; print pages and peak memory as JSON. Errors go to standard error, exit code 1."""
    # A document is one large, living graph of boxes: collecting it again and again found nothing and cost a
    # quarter of the time. The process ends with the document.
    gc.freeze()
    gc.set_threshold(200_000, 20, 20)
    logging.getLogger("weasyprint").setLevel(logging.CRITICAL)
    task = json.loads(sys.stdin.buffer.readline())
    content = sys.stdin.buffer.read()
    try:
        if task["task"] == "pack":
            pdf, pages = pack_pdf(read_pack(content), content, task["paper"])
        else:
            pdf, pages = portfolio_pdf(read_portfolio(json.loads(content)), task["paper"])
    except CountermarkError as broken:
        print(str(broken).replace("\n", ";"), file=sys.stderr)
        return 1
    Path(task["out"]).write_bytes(pdf)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"pages": pages, "peak_memory": peak}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
