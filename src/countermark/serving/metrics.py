"""What the service tells Prometheus, over all its workers."""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Set before this module is imported by a worker: its counters live in files there."""

DECISIONS = Counter(
    "countermark_decisions", "Decisions that were acknowledged.", ["model", "version", "arm", "outcome"]
)
REFUSED = Counter("countermark_refused", "Requests that were refused.", ["endpoint", "status"])
SECONDS = Histogram(
    "countermark_decision_seconds",
    "Time from a request's arrival to its durable record.",
    ["model"],
    buckets=(0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0, 5.0),
)
EVENTS = Counter("countermark_events", "Events that were taken in.", ["table"])
OUTCOMES = Counter("countermark_outcomes", "Outcomes that were recorded.", ["model"])
SHADOWS = Counter("countermark_shadows", "Shadow scores by what became of them.", ["fate"])
SERVED = Gauge("countermark_served_releases", "Releases that may answer.", multiprocess_mode="mostrecent")
REFUSED_RELEASES = Gauge(
    "countermark_refused_releases", "Authorised releases that are not served.", multiprocess_mode="mostrecent"
)
TABLE = Gauge("countermark_routing_table", "Version of the routing table in force.", multiprocess_mode="mostrecent")


def exposition() -> bytes:
    """All workers' figures in the text format of Prometheus."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder is None or not Path(folder).is_dir():
        return generate_latest()
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=folder)  # type: ignore[no-untyped-call]
    return generate_latest(registry)
