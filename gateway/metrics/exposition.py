"""Counts in the text format of Prometheus (exposition format 0.0.4)."""

from collections.abc import Iterator, Sequence
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector

from gateway.metrics.counts import MICROSECONDS, Family, Gauge, Snapshot

CONTENT_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4


def exposition(families: Sequence[Family], counts: Snapshot, gauges: Sequence[Gauge]) -> bytes:
    """The body of a scrape; families without values are named too."""
    return generate_latest(_Collector(families, counts, gauges))


class _Collector(Collector):
    def __init__(self, families: Sequence[Family], counts: Snapshot, gauges: Sequence[Gauge]) -> None:
        self._families, self._counts, self._gauges = families, counts, gauges

    def collect(self) -> Iterator[Metric]:
        for family in self._families:
            yield self._histogram(family) if family.buckets else self._counter(family)
        named: dict[str, GaugeMetricFamily] = {}
        for gauge in self._gauges:
            metric = named.get(gauge.name)
            if metric is None:
                metric = named[gauge.name] = GaugeMetricFamily(gauge.name, gauge.about, labels=sorted(gauge.labels))
            metric.add_metric([value for _, value in sorted(gauge.labels.items())], gauge.value)
        yield from named.values()

    def _counter(self, family: Family) -> Metric:
        metric = CounterMetricFamily(family.name, family.about, labels=family.labels)
        for labels, value in self._counts.counters.get(family.name, ()):
            metric.add_metric(labels, value)
        return metric

    def _histogram(self, family: Family) -> Metric:
        metric = HistogramMetricFamily(family.name, family.about, labels=family.labels)
        bounds = [*map(str, family.buckets), "+Inf"]
        for labels, counts, total in self._counts.histograms.get(family.name, ()):
            if len(counts) == len(bounds):
                metric.add_metric(labels, list(zip(bounds, _running(counts), strict=True)), total / MICROSECONDS)
        return metric


def _running(counts: Sequence[int]) -> Iterator[float]:
    total = 0
    for count in counts:
        total += count
        yield float(total)
