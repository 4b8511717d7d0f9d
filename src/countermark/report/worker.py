"""The process that renders: a task on the first line of standard input, the content after it."""

from __future__ import annotations

import base64
import gc
import json
import logging
import resource
import sys
from pathlib import Path

from countermark.errors import CountermarkError
from countermark.records.signoff import SignOff
from countermark.report.decision_page import decision_pdf
from countermark.report.document import Signed, pack_pdf, portfolio_pdf
from countermark.report.portfolio import read_portfolio
from countermark.report.reading import read_pack
from countermark.report.review_pages import review_pdf


def _signed(task: dict[str, str]) -> Signed | None:
    if "signoff" not in task:
        return None
    return Signed(SignOff.from_json(task["signoff"].encode("utf-8")), base64.b64decode(task["log"]))


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
            pdf, pages = pack_pdf(read_pack(content), content, task["paper"], _signed(task))
        elif task["task"] == "decision":
            pdf, pages = decision_pdf(content)
        elif task["task"] == "review":
            pdf, pages = review_pdf(content)
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
