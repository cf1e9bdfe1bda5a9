"""Who answers for what a verdict is about: they do not review it."""

import datetime as dt
from pathlib import Path

from gateway.domain.signal import DetectorRun
from gateway.domain.verdict import Evidence
from gateway.domain.vocabulary import Phase, Provenance, SignalStatus, SignalType
from gateway.policy import load_bundle

NOW = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
SETS = {
    "a.yaml": """\
apiVersion: gateway/v1
kind: PolicySet
metadata: {id: a, version: "1", owner: "team:credit", authors: [ada, "user:bob"], purpose: p}
rules:
  - {id: A-1, title: t, phase: query, when: {all: [{signal: injection.score, gte: 0.5}]}, then: {effect: flag}}
exceptions:
  - {id: A-X, rule: A-1, match: {app: lab}, reason: r, approved_by: [carol], expires: 2026-12-01}
""",
    "b.yaml": """\
apiVersion: gateway/v1
kind: PolicySet
metadata: {id: b, version: "1", owner: dan, purpose: p}
rules:
  - {id: B-1, title: t, phase: query, when: {all: [{signal: injection.score, gte: 0.9}]}, then: {effect: refuse}}
""",
}


def authors(folder: Path, score: float, app: str = "desk") -> frozenset[str]:
    for name, text in SETS.items():
        (folder / name).write_text(text)
    bundle = load_bundle([folder], signals={"injection.score": SignalType.SCORE}, now=NOW)
    evidence = Evidence(
        phase=Phase.QUERY,
        fields={"principal.tenant": "t", "principal.app": app, "principal.groups": frozenset(), "request.model": "m"},
        values={Provenance.USER: {"injection.score": score}},
        runs={
            "injection": DetectorRun(detector="injection", version="1", status=SignalStatus.OK, reason="", scanned=1)
        },
    )
    return bundle.authors(bundle.decide(evidence, now=NOW))


def test_owners_and_authors_of_the_rules_that_are_reasons(tmp_path: Path) -> None:
    assert authors(tmp_path, 0.6) == {"team:credit", "ada", "user:bob"}
    assert authors(tmp_path, 0.95) == {"team:credit", "ada", "user:bob", "dan"}
    assert authors(tmp_path, 0.1) == frozenset()


def test_who_approved_an_exception_that_lifted_a_rule(tmp_path: Path) -> None:
    assert authors(tmp_path, 0.6, app="lab") == {"carol"}
    assert authors(tmp_path, 0.95, app="lab") == {"carol", "dan"}
