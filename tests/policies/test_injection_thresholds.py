"""The thresholds of `base/injection` on texts that the detector has not learnt from, and that were written after it."""

from pathlib import Path

import pytest

from gateway.demo.setup import CORPUS
from gateway.retrieval.embedding import MiniLmEmbedder
from rules.injection.detector import SCORE, InjectionDetector

TEXTS = Path(__file__).parent / "injection"
TYPED, READ = 0.5, 0.7  # of `INJ-001`, and of `INJ-002` and `INJ-003`
PAGE = (
    "The branch accepts cash and cheques until half past three. {} "
    "For larger sums ring the day before, so that the teller can prepare the count."
)


@pytest.fixture(scope="module")
def detector() -> InjectionDetector:
    return InjectionDetector(MiniLmEmbedder())


def found(detector: InjectionDetector, texts: list[str], threshold: float) -> list[str]:
    return [text for text, scan in zip(texts, detector.scan(texts), strict=True) if scan.values[SCORE] >= threshold]


def lines(name: str) -> list[str]:
    return (TEXTS / name).read_text("utf-8").splitlines()


def test_short_things_that_people_say_mostly_pass(detector: InjectionDetector) -> None:
    stopped = found(detector, lines("ordinary.txt"), TYPED)
    assert len(lines("ordinary.txt")) == 50
    assert len(stopped) <= 6, stopped


def test_most_attacks_are_stopped(detector: InjectionDetector) -> None:
    assert len(lines("attacks.txt")) == 30
    assert len(found(detector, lines("attacks.txt"), TYPED)) >= 22


def test_orders_planted_in_a_page(detector: InjectionDetector) -> None:
    pages = [PAGE.format(line) for line in lines("planted.txt")]
    assert found(detector, [PAGE.format("Coins are counted by machine.")], READ) == []
    # A floor against regressions and no goal: measured 4 of 16 here, 8 of 16 in pages about software.
    assert len(found(detector, pages, READ)) >= 4


@pytest.mark.slow
def test_no_section_of_the_handbook_is_lost_but_the_planted_one(detector: InjectionDetector) -> None:
    sections = [
        section
        for file in sorted(CORPUS.rglob("*.md"))
        for section in file.read_text("utf-8").split("\n## ")
        if section
    ]
    lost = found(detector, sections, READ)
    assert len(sections) > 250
    assert ["customer-forum" in section or "not reviewed" in section for section in lost] == [True]
