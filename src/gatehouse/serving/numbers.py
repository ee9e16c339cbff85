"""What the service counts, for ``/metrics``: plain Python numbers, made into text when asked.

Every label comes from a fixed set (routes, classes, columns of the schema), so that no client can
make memory grow.
"""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from gatehouse.core.config.schema import Schema

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
SIZES = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 10_000, 100_000)
STEPS = 20  # of a regression's range


class Histogram:
    """Counts by upper bound."""

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = list(bounds)
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts, as Prometheus has them."""
        total, found = 0, []
        for bound, count in zip([*map(str, self.bounds), "+Inf"], self.counts, strict=True):
            total += count
            found.append((bound, float(total)))
        return found


class LogNumbers:
    """What became of the records of the inference log; each number has one thread that writes it.

    ``dropped`` did not fit into the buffer, ``lost`` could not be written.
    """

    def __init__(self) -> None:
        self.written = self.dropped = self.lost = self.sampled_out = 0
        self.shipped = self.failed = self.removed = 0
        self.wrote_at = self.shipped_at = time.time()

    def collect(self) -> Iterator[Metric]:
        """As in ``Numbers``."""
        records = CounterMetricFamily(
            "service_log_records", "Requests by what became of their record", labels=["outcome"]
        )
        records.add_metric(["written"], self.written)
        records.add_metric(["dropped"], self.dropped + self.lost)
        records.add_metric(["sampled_out"], self.sampled_out)
        yield records
        files = CounterMetricFamily(
            "service_log_files",
            "Files of the log: shipped, tries that failed, removed before they were shipped",
            labels=["outcome"],
        )
        for outcome in ("shipped", "failed", "removed"):
            files.add_metric([outcome], getattr(self, outcome))
        yield files
        for what, moment in (("write", self.wrote_at), ("ship", self.shipped_at)):
            yield GaugeMetricFamily(
                f"service_log_{what}_age_seconds",
                f"Since the last successful {what}, or the start",
                time.time() - moment,
            )


class Numbers:
    """Requests, seconds, batch sizes, predictions, refusals, and which model answers."""

    def __init__(self, schema: Schema, digest: str, written: float) -> None:
        """``written``: when the model's files came here, in seconds since 1970."""
        self.requests: Counter[tuple[str, int]] = Counter()
        self.seconds: dict[str, Histogram] = {}
        self.sizes = Histogram(SIZES)
        self.unusual: Counter[str] = Counter()
        self.hook_failures = 0
        self.waiting = 0
        self.log: LogNumbers | None = None
        self._labels, self._digest, self._written = schema.labels, digest, written
        self._started = time.time()
        self._classes = np.zeros(len(self._labels), dtype=np.int64)
        target = schema.columns[schema.target]
        low, high = target.min or 0.0, target.max if target.max is not None else 1.0
        self._values = Histogram(np.linspace(low, max(high, low + 1e-9), STEPS + 1).tolist())

    def request(self, route: str, status: int, seconds: float) -> None:
        """Count one request that was answered."""
        self.requests[route, status] += 1
        if route not in self.seconds:
            self.seconds[route] = Histogram(SECONDS)
        self.seconds[route].add(seconds)

    def predicted(self, raw: Any, unusual: list[str]) -> None:
        """Count a batch: (n, k) probabilities or (n,) values."""
        self.sizes.add(len(raw))
        for name in unusual:
            self.unusual[name] += 1
        if raw.ndim == 1:
            for value in raw.tolist():
                self._values.add(value)
        elif len(raw) == 1:
            self._classes[raw[0].argmax()] += 1
        else:
            self._classes += np.bincount(raw.argmax(axis=1), minlength=len(self._labels))

    def text(self) -> bytes:
        """All of it in Prometheus' text format."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)  # type: ignore[arg-type]
        return bytes(generate_latest(registry))

    def collect(self) -> Iterator[Metric]:
        """Called by prometheus_client when the text is made."""
        requests = CounterMetricFamily(
            "service_requests", "Requests answered", labels=["route", "status"]
        )
        for (route, status), count in self.requests.items():
            requests.add_metric([route, str(status)], count)
        yield requests
        seconds = HistogramMetricFamily(
            "service_request_seconds", "From the head of a request to its answer", labels=["route"]
        )
        for route, histogram in self.seconds.items():
            seconds.add_metric([route], histogram.buckets(), histogram.sum)
        yield seconds
        sizes = HistogramMetricFamily("service_batch_rows", "Rows that were predicted together")
        sizes.add_metric([], self.sizes.buckets(), self.sizes.sum)
        yield sizes
        if self._labels:
            classes = CounterMetricFamily(
                "service_predictions", "Rows by predicted class", labels=["class"]
            )
            for label, count in zip(self._labels, self._classes.tolist(), strict=True):
                classes.add_metric([label], count)
            yield classes
        else:
            values = HistogramMetricFamily("service_predictions", "Predicted values")
            values.add_metric([], self._values.buckets(), self._values.sum)
            yield values
        unusual = CounterMetricFamily(
            "service_unusual_values", "Requests with a value beyond schema.yaml", labels=["column"]
        )
        for column, count in self.unusual.items():
            unusual.add_metric([column], count)
        yield unusual
        yield CounterMetricFamily(
            "service_hook_failures", "Predictions that a hook could not take", self.hook_failures
        )
        yield GaugeMetricFamily("service_waiting", "Requests in flight", self.waiting)
        model = GaugeMetricFamily(
            "service_model", "1 for the model that answers", labels=["model_digest"]
        )
        model.add_metric([self._digest], 1)
        yield model
        if self.log is not None:
            yield from self.log.collect()
        # Tells one container from another behind a proxy, too.
        yield GaugeMetricFamily(
            "service_started_seconds", "When this process started, since 1970", self._started
        )
        yield GaugeMetricFamily(
            "service_model_age_seconds",
            "Since the model's files came here",
            time.time() - self._written,
        )
