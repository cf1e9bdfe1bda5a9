"""The overview: numbers are those of the log, for the tenants of whoever looks, drawn and told."""

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec import structs
from trail_support import KEY, Written

from gateway.audit.outbox_places import SinkLag
from gateway.console.overview_chart import columns, lines, nice
from gateway.console.roles import Role
from gateway.domain.event import EventDraft, EventType
from gateway.settings import ModelSettings, SinkSettings, TrailSettings

ROLES = {Role.AUDITOR, Role.LEAD, Role.ADMIN}


@pytest.fixture
async def written(stage) -> AsyncIterator[Written]:
    made = Written(stage.bench.log, stage.clock)
    await made.exchange("ex-1", effect="escalate")
    await made.exchange("ex-2", effect="refuse", took_us=40_000, error="upstream_timeout", status="timeout")
    await made.exchange("ex-3", effect="refuse", rule="C-001")
    await made.exchange("rival", tenant="rival", effect="flag", rule="R-SECRET")
    about: dict[str, Any] = {"request": "ex-1", "tenant": "acme", "app": "loans", "principal": "p:acme"}
    await made.log.append(EventDraft(type=EventType.FEEDBACK, **about, body={"rating": "bad", "reason": "wrong"}))
    yield made
    await made.close()


@pytest.fixture
async def ada(stage, written):
    return await stage.signed_in("ada", Role.AUDITOR)


def table(page: str, caption: str) -> dict[str, list[str]]:
    """The rows of a table by their heads, without marks."""
    body = page.split(caption, 1)[1].split("</table>", 1)[0]
    rows = re.findall(r"<tr><th scope=\"row\".*?</tr>", body, re.DOTALL)
    cells = [
        [
            re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", cell)).strip()
            for cell in re.findall(r"<t[hd].*?</t[hd]>", row, re.DOTALL)
        ]
        for row in rows
    ]
    return {row[0]: row[1:] for row in cells}


@pytest.mark.parametrize("indexed", [True, False])
async def test_the_numbers_are_those_of_the_log(ada, written, indexed: bool) -> None:
    if indexed:
        written.index()
    page = (await ada.get("/overview?days=7")).text
    assert table(page, "Exchanges a day by effect</caption>")["2026-11-20"] == ["0", "0", "0", "1", "2", "0"]
    assert table(page, "Exchanges a day by effect</caption>")["2026-11-21"] == ["0"] * 6
    assert table(page, "Tokens a day</caption>")["2026-11-20"] == ["3,000", "1,500"]
    assert len(table(page, "Tokens a day</caption>")) == 7
    times = table(page, "Milliseconds of an exchange</caption>")
    assert float(times["2026-11-20"][0]) == pytest.approx(12, rel=0.13)
    assert float(times["2026-11-20"][1]) == pytest.approx(40, rel=0.13)
    assert times["2026-11-24"] == ["–", "–"]
    rules = table(page, 'id="s-rules"')
    assert {name.split()[0]: row[:2] for name, row in rules.items()} == {"C-003": ["2", "0"], "C-001": ["1", "0"]}
    failures = table(page, 'id="s-failures"')
    assert failures["upstream_timeout error"] == ["exchange or request", "1"]
    assert failures["pii detector"] == ["timeout", "1"]
    assert "bad" in table(page, 'id="s-feedback"')
    assert "R-SECRET" not in page
    assert "rival" not in page


async def test_each_chart_has_a_table_and_a_name(ada) -> None:
    page = (await ada.get("/overview")).text
    charts = re.findall(r'<svg class="chart".*?</svg>', page, re.DOTALL)
    assert len(charts) == 3
    assert all('role="img" aria-label="' in chart for chart in charts)
    assert page.count("As a table") == 3
    assert "style=" not in page


async def test_models_with_a_price_cost_something(stage, ada) -> None:
    assert "no price" in (await ada.get("/overview")).text
    priced = ModelSettings(name="fast", provider="extractive", price_in=2.0, price_out=8.0)
    stage.change(settings=structs.replace(stage.parts.settings, models=(priced,)))
    assert table((await ada.get("/overview")).text, 'id="s-tokens"')["fast"] == ["3,000", "1,500", "0.02"]


@pytest.mark.parametrize(
    ("query", "status", "days"),
    [
        ("", 200, 30),
        ("days=1", 200, 1),
        ("days=90", 200, 90),
        ("days=9999", 200, 30),
        ("from=2026-11-19&to=2026-11-21", 200, 3),
        ("from=2026-11-21&to=2026-11-19", 400, 30),
        ("from=2020-01-01&to=2026-11-19", 400, 30),
        ("from=x&to=", 400, 30),
        ("tenant=rival", 200, 30),
    ],
)
async def test_days_are_chosen_and_checked(ada, query: str, status: int, days: int) -> None:
    answer = await ada.get(f"/overview?{query}")
    assert answer.status_code == status
    assert len(table(answer.text, "Tokens a day</caption>")) == days
    assert ('role="alert"' in answer.text) == (status == 400)
    assert "R-SECRET" not in answer.text


async def test_somebody_of_two_tenants_sees_each_and_both(stage, written) -> None:
    browser = await stage.signed_in("ada", Role.AUDITOR, tenants=("acme", "rival"))
    for tenant, count in (("", "4"), ("acme", "3"), ("rival", "1")):
        page = (await browser.get(f"/overview?tenant={tenant}")).text
        assert f"<strong>{count}</strong> exchanges" in page


async def test_cases_are_counted_for_those_who_may_not_open_them(stage, written, ada) -> None:
    await stage.open_case(1)
    await stage.open_case(2, tenant="rival")
    assert "1</strong> cases open, 0 overdue" in (await ada.get("/overview")).text
    stage.clock.forward(hours=3)
    ada = await stage.signed_in("ada", Role.AUDITOR)
    assert "1</strong> cases open, 1 overdue" in (await ada.get("/overview")).text


async def test_health_tells_of_the_checkpoint_and_of_sinks(stage, written, ada) -> None:
    written.sign()
    assert "verified-anchored" in (await ada.get("/overview")).text
    sink = SinkSettings(name="siem", kind="file", path="x")
    lag = SinkLag(sink="siem", delivered=3, behind=7, behind_s=61, failures=2, reason="refused")
    stage.change(
        settings=structs.replace(stage.parts.settings, trail=TrailSettings(sinks=(sink,))),
        trail=structs.replace(stage.parts.trail, lags=lambda: [lag]),
    )
    page = (await ada.get("/overview")).text
    assert "2 failures" in page
    assert table(page, "<dt>Sinks</dt>")["siem"][:2] == ["7", "61"]
    written.rewrite(10, b'"wrong"', b'"other"')
    assert "diverged" in (await ada.get("/overview")).text
    assert KEY.verifier.name in (await ada.get("/audit/integrity")).text


async def test_reviewers_figures_are_for_leads_and_auditors(stage, written) -> None:
    for role in ROLES:
        page = (await (await stage.signed_in("zoe", role)).get("/overview")).text
        assert ("Quality of review" in page) == (role is not Role.ADMIN)


async def test_looking_is_recorded_first(stage, ada) -> None:
    await ada.get("/overview?days=7")
    last = stage.audit.drafts[-1]
    assert (last.type, last.body["what"], last.body["via"]) == (EventType.AUDIT_READ, "stats", "console")
    stage.audit.fail_on = EventType.AUDIT_READ
    assert (await ada.get("/overview")).status_code == 503


class TestCharts:
    @pytest.mark.parametrize("top", [0, 1, 3.9, 4, 5, 17, 99, 1_234, 987_654_321])
    def test_scales_hold_the_value_and_are_not_much_larger(self, top: float) -> None:
        assert nice(top) >= top
        assert nice(top) <= max(4, 2.6 * top)

    def test_columns_stack_from_the_ground_without_gaps(self) -> None:
        drawn = columns(["a", "b"], {"allow": [3, 0], "refuse": [1, 4]})
        first, second, third = drawn.bars
        assert (first.series, second.series, third.series) == ("allow", "refuse", "refuse")
        assert first.y + first.height == drawn.ticks[0].y
        assert second.y + second.height == pytest.approx(first.y, abs=0.11)
        assert third.y == drawn.ticks[-1].y
        assert all(bar.x >= 0 and bar.x + bar.width <= 600 for bar in drawn.bars)
        assert second.title == "a: 1 refuse"

    def test_nothing_at_all_is_drawn_as_an_empty_scale(self) -> None:
        assert columns([], {"allow": []}).bars == ()
        assert lines(["a"], {"p50": [None]}, "ms").lines[0].dots == ()

    def test_a_line_ends_where_a_value_is_missing(self) -> None:
        (line,) = lines(list("abcde"), {"p50": [1, 2, None, 3, None]}, "ms").lines
        assert len(line.stretches) == 1
        assert len(line.dots) == 3

    def test_so_many_labels_that_they_can_be_read(self) -> None:
        days = [f"{n}" for n in range(90)]
        assert 4 <= len(columns(days, {"allow": [1] * 90}).labels) <= 8
