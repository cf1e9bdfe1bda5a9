"""The report: figures, their ratios to the floors of the same run, and the goals beside them."""

from collections.abc import Iterable, Iterator

from msgspec import Struct

from tests.bench.measure import Conversation, Streaming, Throughput
from tests.bench.micro import Micro


class Report(Struct, kw_only=True):
    """Everything that one run has measured, by the name of the target."""

    machine: str
    pinned: bool
    busy: float  # processes that wanted to run on average in the minute before the start
    quick: bool
    requests: dict[str, Throughput]
    streams: dict[str, Streaming]
    cached: Conversation
    uncached: Conversation
    memory_mb: dict[str, float]
    micro: Micro

    def ratio(self, name: str, floor: str) -> float:
        """Requests a second, per round of the same turn; the median, so that one disturbed round does not count."""
        own, other = self.requests[name].median("per_second"), self.requests[floor].median("per_second")
        return own / other

    def cpu_ratio(self, name: str, floor: str) -> float:
        return self.requests[name].median("cpu_us") / max(1e-9, self.requests[floor].median("cpu_us"))

    def added_ms(self, name: str, moment: str) -> float:
        """Time that a proxy adds to a stream that the model sends at once."""
        return float(getattr(self.streams[name], moment)) - float(getattr(self.streams["model"], moment))


def render(report: Report) -> str:
    return "\n".join([*_head(report), "", *_requests(report), "", *_streams(report), "", *_goals(report)])


def _head(report: Report) -> Iterator[str]:
    pinned = "one core for what is measured" if report.pinned else "not pinned: ratios are rough"
    yield f"{report.machine}; {pinned}{'; quick: rough figures' if report.quick else ''}"
    if report.busy > 1:
        yield f"The machine was busy with something else (load {report.busy:.1f}): requests/s and times are rough."
    yield "Each answer waits until its two audit events are on disk: the gateway has no other mode (P1 is P3)."


def _requests(report: Report) -> Iterator[str]:
    titles = ("req/s", "x litestar", "x bare", "CPU us", "x litestar", "p50 ms", "p99 ms")
    yield _line("32 clients, whole answers", titles)
    for name, found in report.requests.items():
        figures = (
            f"{found.median('per_second'):,.0f}",
            f"{report.ratio(name, 'litestar'):.2f}",
            f"{report.ratio(name, 'bare'):.2f}",
            f"{found.median('cpu_us'):,.0f}",
            f"{report.cpu_ratio(name, 'litestar'):.2f}",
            f"{found.median('p50_ms'):.1f}",
            f"{found.median('p99_ms'):.1f}",
        )
        yield _line(name, figures) + (f"  {found.failures} failed" if found.failures else "")


def _streams(report: Report) -> Iterator[str]:
    titles = ("first ms", "added", "last ms", "added", "events", "held p50", "held p95")
    yield _line("streams, one at a time", titles)
    for name, found in report.streams.items():
        figures = (
            found.first_ms,
            report.added_ms(name, "first_ms"),
            found.last_ms,
            report.added_ms(name, "last_ms"),
            found.delivered,
            found.held_p50,
            found.held_p95,
        )
        yield _line(name, [f"{figure:.2f}" if isinstance(figure, float) else str(figure) for figure in figures])


def _line(name: str, figures: Iterable[str]) -> str:
    return f"{name:<28}" + "".join(f"{figure:>11}" for figure in figures)


def _goals(report: Report) -> Iterator[str]:
    thousand, micro = "gateway-1000-rules", report.micro
    eight = report.cpu_ratio(thousand, "gateway-10-rules")
    patterns = ", ".join(f"{words}: {us:.0f}" for words, us in micro.patterns_us.items())
    stream = report.streams[thousand]
    names = report.requests["gateway-names"]
    added, durable = report.added_ms(thousand, "first_ms"), 2_000 / micro.audit_alone_per_s
    rows = [
        ("P1", "requests/s for the Litestar proxy's", f"{report.ratio(thousand, 'litestar'):.2f}x", ">= 0.7x"),
        ("P4", "names sought in every question, CPU ms a request", f"{names.median('cpu_us') / 1e3:.1f}", ""),
        (
            "P5",
            "last turns for first, CPU; without cache",
            f"{report.cached.growth:.2f}; {report.uncached.growth:.2f}",
            "<= 1.5",
        ),
        (
            "P6",
            "added ms to first content; Litestar; 2 durable events",
            "; ".join(f"{ms:.2f}" for ms in (added, report.added_ms("litestar", "first_ms"), durable)),
            "<= 2",
        ),
        (
            "P7",
            "events delivered for one of the model; a word waits for",
            f"{stream.delivered:.2f}; {stream.held_p50} chunk",
            ">= 0.9; 1",
        ),
        ("P8", "CPU a request, 1,000 rules for 10", f"{eight:.2f}x", "<= 1.10x"),
        ("P9", "patterns, us per 1,000 words, by length", patterns, "<= 60"),
        (
            "P11",
            "durable events/s, 32 clients; one",
            f"{micro.audit_per_s:,.0f}; {micro.audit_alone_per_s:,.0f}",
            ">= 5,000",
        ),
        (
            "P12",
            "memory MB, without and with names",
            f"{report.memory_mb[thousand]:.0f}; {report.memory_mb['gateway-names']:.0f}",
            "<= 150; 250",
        ),
        (
            "P13",
            "decision with 500 rules, p50 and p99 us",
            f"{micro.decide_busy_p50_us:.0f}, {micro.decide_busy_p99_us:.0f}",
            "p99 < 1,000",
        ),
    ]
    yield f"{'goal':<5}{'what':<52}{'measured':<44}wanted"
    for goal, what, measured, wanted in rows:
        yield f"{goal:<5}{what:<56}{measured:<44}{wanted}"
