"""Metrics for Prometheus. Labels come from fixed sets, never from a client's input."""

from collections.abc import Mapping
from functools import partial

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from carousel.server.request import Model
from carousel.server.types import EngineClient

PREFIX = "carousel"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The counts of one app, beside those of its process.

    Args:
        models: By name; whether each can write is asked when the counts are read.
    """

    content_type = CONTENT_TYPE_LATEST  # of what `text` returns

    def __init__(self, models: Mapping[str, Model]) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)

        def counter(name: str, what: str, *labels: str) -> Counter:
            return Counter(name, what, labels, namespace=PREFIX, registry=registry)

        def gauge(name: str, what: str) -> Gauge:
            return Gauge(name, what, ["model"], namespace=PREFIX, registry=registry)

        def histogram(name: str, what: str, label: str) -> Histogram:
            return Histogram(
                name, what, [label], namespace=PREFIX, registry=registry, buckets=SECONDS
            )

        self.requests = counter("requests", "Requests answered.", "route", "status")
        self.rejected = counter("rejected", "Requests not served, or not to their end.", "reason")
        self.written = counter("characters_written", "Characters of texts written.", "model")
        self.read = counter("characters_read", "Characters of prompts and scored texts.", "model")
        self.active = gauge("active_texts", "Texts being written or read now.")
        self.first = histogram("first_character_seconds", "To a text's first character.", "model")
        self.whole = histogram("request_seconds", "To a request's end.", "route")
        ready = gauge("ready", "1 where the model can write, else 0.")
        for name, model in models.items():
            ready.labels(name).set_function(partial(_is_ready, model.engine))
            for each in (self.written, self.read, self.active, self.first):
                each.labels(name)  # present from the start, at 0

    def text(self) -> bytes:
        """Return the counts in Prometheus's text format."""
        return generate_latest(self._registry)


def _is_ready(engine: EngineClient) -> float:
    return float(engine.unavailable_reason() is None)
