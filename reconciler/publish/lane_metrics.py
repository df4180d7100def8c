"""Series of the lane: permits, the queue, throughput, and counts that it keeps itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from reconciler.core.transfers import Figures

Labels = tuple[str, ...]


def lane_series(prefix: str, figures: Figures) -> Iterator[Metric]:
    """All of them, at one moment."""
    permits = figures.concurrency
    yield gauge(
        f"{prefix}download_permits",
        "Permits of downloads, by state: configured, available, held; pending_shrink: held above a smaller limit.",
        ("state",),
        [
            (("configured",), permits.configured_max),
            (("available",), permits.available_permits),
            (("held",), permits.held_permits),
            (("pending_shrink",), permits.pending_shrink or 0),
        ],
    )
    yield gauge(f"{prefix}download_queue_length", "Jobs that wait for a permit.", (), [((), len(figures.queued))])
    ewma = figures.ewma_mib_s
    yield gauge(
        f"{prefix}download_throughput_mib_per_second",
        "Throughput of whole downloads, smoothed and kept over restarts; absent before the first.",
        (),
        [] if ewma is None else [((), ewma)],
    )
    yield _counter(
        f"{prefix}download_preflight",
        "HEAD requests before downloads, by outcome: ok, denied, skipped.",
        ("outcome",),
        [
            (("ok",), figures.preflight_ok),
            (("denied",), figures.preflight_denied),
            (("skipped",), figures.preflight_skipped),
        ],
    )
    yield _counter(
        f"{prefix}download_coalesced",
        "Times an object joined a job that another one had begun.",
        (),
        [((), figures.coalesced)],
    )


def gauge(name: str, help_text: str, labels: Labels, samples: Iterable[tuple[Labels, float]]) -> GaugeMetricFamily:
    """A family of gauges with these samples."""
    family = GaugeMetricFamily(name, help_text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family


def _counter(name: str, help_text: str, labels: Labels, samples: Iterable[tuple[Labels, float]]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, help_text, labels=labels)
    for values, value in samples:
        family.add_metric(values, value)
    return family
