"""The pattern tier, one table of texts and spans per recogniser; `«…»` marks the span in the text as received."""

import re
import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import ConfigurationError
from gateway.domain.vocabulary import Placement
from rules.pii import OPTIONAL_KINDS, PATTERN_KINDS, PiiPatterns
from rules.pii.patterns import PATTERNS

ALL = PiiPatterns(kinds=PATTERN_KINDS)
DEFAULT = PiiPatterns()

POSITIVE: dict[str, list[str]] = {
    "CREDIT_CARD": [
        "«4111111111111111»",
        "pay with «4111 1111 1111 1111», expires 12/27",
        "«4111-1111-1111-1111» 123",
        "amex «3714 496353 98431» please",
        "«5500 0055 5555 5559» and «4111 1111 1111 1111»",
        "my card is «4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1» ok",
        "«4.1.1.1.1.1.1.1.1.1.1.1.1.1.1.1»",
        "«4111\u20131111\u20131111\u20131111»",
        "«\uff14\uff11\uff11\uff11 \uff11\uff11\uff11\uff11 \uff11\uff11\uff11\uff11 \uff11\uff11\uff11\uff11»",
        "«4111\u200b1111\u200b1111\u200b1111»",
        "Karte «4111\u00a01111\u00a01111\u00a01111»",
    ],
    "CARD_SECURITY_CODE": ["cvv «123»", "the CVC2 is «4321»", "security code: «987»"],
    "IBAN_CODE": [
        "«GB82WEST12345698765432»",
        "IBAN «GB82 WEST 1234 5698 7654 32» is mine",
        "«DE89 3704 0044 0532 0130 00», «FR1420041010050500013M02606»",
        "iban «gb82west12345698765432».",
        "«GB82-WEST-1234-5698-7654-32»",
    ],
    "US_BANK_NUMBER": ["account number «1234567890»", "acct no. «00123456789»", "Konto «12345678»"],
    "UK_SORT_CODE": ["sort code «12-34-56»", "«12 34 56» is the sort code"],
    "ABA_ROUTING_NUMBER": ["routing number «021000021»", "ABA «1110-0002-5»"],
    "CRYPTO": [
        "send to «1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2»",
        "«bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4»",
        "wallet «0x52908400098527886E0F7030069857D2E4169EE7»",
    ],
    "EMAIL_ADDRESS": [
        "mail «ana.diaz+x@example.co.uk»!",
        "«jürgen@müller-bank.de»",
        "<«bo@example.org»>",
        "«ana at example dot com»",
        "«ana[at]example[dot]org»",
        "😀 «a@b.io»",
    ],
    "PHONE_NUMBER": [
        "«+44 20 7946 0958»",
        "«+1-202-555-0143»",
        "«(202) 555-0143»",
        "«202-555-0143 x123»",
        "call me on «0650 995 04 94»",
        "«030 1234 5678»",
        "«438.812.1525 » fax".replace(" »", "»"),
        "0049 is the code: «0049 30 12345678»",
        "my mobile: «07700 900123»",
    ],
    "IP_ADDRESS": ["from «192.168.10.24» now", "«2001:db8:85a3::8a2e:370:7334»", "host «2001:db8::1»"],
    "MAC_ADDRESS": ["«00:1a:2b:3c:4d:5e»", "«00-1A-2B-3C-4D-5E»"],
    "URL": ["see «https://example.com/a?b=c».", "«www.example.org»"],
    "UK_NHS": ["NHS number «943 476 5919»", "patient «9434765919»"],
    "MEDICAL_RECORD_NUMBER": ["MRN: «A-1234567»", "medical record number «00482913»", "Patient ID «P12345»"],
    "US_MBI": ["«1EG4-TE5-MK73»", "Medicare «1EG4TE5MK73»"],
    "MEDICAL_LICENSE": ["DEA «AB1234563»"],
    "US_NPI": ["NPI «1234567893»"],
    "AU_MEDICARE": ["Medicare «2123 45670 1»"],
    "HEALTH_INSURANCE_NUMBER": ["health insurance no «A123456780»", "member ID: «XYZ123456789»"],
    "US_SSN": [
        "«219-09-9998»",
        "ssn «219099998»",
        "social security: «219 09 9998»",
        "ssn «2 1 9 0 9 9 9 9 8»",
    ],
    "US_ITIN": ["«912-70-1234»", "ITIN «912701234»"],
    "US_PASSPORT": ["passport «512345678»", "US passport number: «A12345678»"],
    "PASSPORT": ["passport no. «C01X0006H»", "Reisepass «C01X00T47»"],
    "US_DRIVER_LICENSE": [
        "driver's license number is «D123-4567-8901»",
        "My driver license is «950735093»",
        "driving licence «LH329609T» expired",
    ],
    "UK_DRIVING_LICENCE": ["«MORGA657054SM9IJ»"],
    "UK_NINO": ["«AB 12 34 56 C»", "national insurance «jg103759a»"],
    "DE_TAX_ID": ["Steuer-ID «65 929 970 489»", "tax ID «36574261809»"],
    "ES_NIF": ["DNI «12345678Z»", "«12345678-Z»"],
    "ES_NIE": ["«X1234567L»"],
    "IT_FISCAL_CODE": [
        "«RSSMRA85T10A562S»",
        "codice «rss mra 85t10 a562s»".replace("rss mra 85t10 a562s", "rssmra85t10a562s"),
    ],
    "FR_INSEE": ["«2 55 08 14 168 025 38»", "«255081416802538»"],
    "NL_BSN": ["BSN «111222333»"],
    "CH_AHV": ["«756.9217.0769.85»"],
    "BR_CPF": ["«529.982.247-25»", "CPF «52998224725»"],
    "CA_SIN": ["SIN «130 692 544»"],
    "PL_PESEL": ["PESEL «44051401359»"],
    "SE_PERSONNUMMER": ["«811218-9876»"],
    "FI_PERSONAL_IDENTITY_CODE": ["«131052-308T»"],
    "IN_AADHAAR": ["Aadhaar «2341 2341 2346»"],
    "IN_PAN": ["PAN «ABCPE1234F»"],
    "SG_NRIC_FIN": ["«S1234567D»"],
    "AU_TFN": ["TFN «123 456 782»"],
    "NATIONAL_ID": ["national ID number: «AB-123456»", "Personalausweis «L01X00T471»"],
    "IMEI": ["IMEI «490154203237518»"],
    "ICCID": ["SIM card ICCID «8991101200003204514»"],
    "PERSON": [
        "Dear Mr «Smith»,",
        "my name is «Ana Diaz» and I",
        "My name is «John O'Neil».",
        "Frau «Dr. Weber-Klein»".replace("Dr. ", ""),
        "my name is «maria»",
        "Mrs. «Ludwig van den Berg» called",
    ],
    "DATE_OF_BIRTH": [
        "born on «12 May 1984»",
        "DOB: «04/07/1991»",
        "geboren am «3.2.1970»",
        "date of birth is «1980-12-01»",
    ],
    "DATE_TIME": ["on «12 May 2024»", "«2024-05-01 10:30:00»", "«3/23/1940»"],
    "AGE": ["«45» years old", "aged «31»".replace("aged «31»", "«aged 31»")],
    "ADDRESS": [
        "at «12 Elm Street» today",
        "«12 Elm Street, Springfield, IL 62704» please",
        "«4589 40th Street Suite 603»",
        "«Hauptstraße 12a, 10115 Berlin»",
        "«Karl-Marx-Straße 7»",
        "«18 rue de la Paix»".replace("18 rue de la Paix", "18 rue de la Paix"),
        "«Via Roma 12»",
        "«Calle de Alcalá 45»",
        "«Prinsengracht 263»",
        "«P.O. Box 101»",
        "«PSC 7004, Box 8380\nAPO AP 11949»",
        "zip code is «71382»",
        "I live at «12 Old Mill».",
        "«12 Elm Street,\r\nSpringfield»",
        "«Austin, TX 78701»".replace("Austin, TX 78701", "TX 78701"),
    ],
    "UK_POSTCODE": ["«SW1A 1AA»", "postcode «EC1Y 8SY»"],
}

NEGATIVE: dict[str, list[str]] = {
    "CREDIT_CARD": [
        "4111111111111112",
        "order 4111 1111 1111 1113",
        "1234567890123456",
        "0000 0000 0000 0000",
        "timestamp 1700000000000",
        "12.5 13.5 14.5 15.5 16.5 17.5 18.5 19.5",
        "41111111111111114111111111111111",
    ],
    "CARD_SECURITY_CODE": ["the CVV is on the back", "error code 123", "cvv 12345"],
    "IBAN_CODE": ["GB82WEST12345698765433", "GB00", "ZZ82WEST12345698765432", "DE8937040044053201300"],
    "US_BANK_NUMBER": ["1234567890", "account opened 2019", "account for invoice number 12345678"],
    "UK_SORT_CODE": ["on 12-34-56", "code 12-34"],
    "ABA_ROUTING_NUMBER": ["021000021", "routing number 021000022"],
    "CRYPTO": ["1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN3", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5", "0x1234"],
    "EMAIL_ADDRESS": ["@handle", "a@b", "meet me at noon", "user@localhost", "look at the dot com boom"],
    "PHONE_NUMBER": [
        "in 2019-2020",
        "on 2024-05-01",
        "version 1.2.3.4567",
        "invoice 0650 995 04 94",
        "1234567890",
        "$1,234,567.89",
        "call before 2024-05-01",
    ],
    "IP_ADDRESS": ["version 1.2.3.4", "256.1.1.1", "127.0.0.1", "0.0.0.0", "255.255.255.0", "at 10:30:45", "a::b::c"],
    "MAC_ADDRESS": ["00:1a:2b", "10:30:45"],
    "URL": ["http", "example"],
    "UK_NHS": ["NHS number 943 476 5918", "943 476 5919", "the NHS"],
    "MEDICAL_RECORD_NUMBER": ["the MRN is missing", "patient id please", "record 00482913"],
    "US_MBI": ["1EG4TE5MK7", "0EG4TE5MK73"],
    "MEDICAL_LICENSE": ["AB1234564"],
    "US_NPI": ["1234567893", "NPI 1234567890"],
    "AU_MEDICARE": ["2123 45670 1", "Medicare 2123 45671 1"],
    "HEALTH_INSURANCE_NUMBER": ["health insurance is due", "member id"],
    "US_SSN": ["000-12-3456", "666-12-3456", "912-12-3456", "219-00-9998", "219-09-0000", "219099998", "123-45-6789"],
    "US_ITIN": ["912-40-1234", "912701234"],
    "US_PASSPORT": ["512345678", "passport office"],
    "PASSPORT": ["passport renewal in 2024", "C01X0006H"],
    "US_DRIVER_LICENSE": ["driver's license renewal costs 45 dollars", "A1234567"],
    "UK_DRIVING_LICENCE": ["MORGA699954SM9IJ"],
    "UK_NINO": ["BG123456A", "AB123456E", "AB12345C"],
    "DE_TAX_ID": ["Steuer-ID 65929970488", "65929970489"],
    "ES_NIF": ["12345678A", "1234Z"],
    "ES_NIE": ["X1234567A"],
    "IT_FISCAL_CODE": ["RSSMRA85T10A562T"],
    "FR_INSEE": ["255081416802539"],
    "NL_BSN": ["BSN 111222334", "111222333"],
    "CH_AHV": ["756.9217.0769.86"],
    "BR_CPF": ["529.982.247-26", "52998224725"],
    "CA_SIN": ["SIN 130 692 545", "130 692 544", "it is a sin 046 454 286"],
    "PL_PESEL": ["PESEL 44051401358", "44991401359"],
    "SE_PERSONNUMMER": ["811218-9875", "819918-9876"],
    "FI_PERSONAL_IDENTITY_CODE": ["131052-308U"],
    "IN_AADHAAR": ["Aadhaar 2341 2341 2347", "2341 2341 2346"],
    "IN_PAN": ["ABCDE1234F", "pan"],
    "SG_NRIC_FIN": ["S1234567A"],
    "AU_TFN": ["TFN 123 456 783", "123 456 782"],
    "NATIONAL_ID": ["identity card is required", "national id"],
    "IMEI": ["IMEI 490154203237519", "490154203237518"],
    "ICCID": ["ICCID 8991101200003204513"],
    "PERSON": ["my name is on the account", "Mr and Mrs", "the Dr said", "file name: report", "Customer Support"],
    "DATE_OF_BIRTH": ["born to be wild", "due on 12 May 1984", "birthday party"],
    "DATE_TIME": ["in 2024", "1.2.3", "10/12"],
    "AGE": ["45 years of service", "aged cheese"],
    "ADDRESS": [
        "12 months fixed",
        "Street food",
        "the way to pay",
        "Suite of products",
        "zip file",
        "we live in interesting times",
        "I have 3 Accounts",
        "Regel 5",
    ],
    "UK_POSTCODE": ["B2 4GB of memory", "S3 1AM bucket", "ZZ1 1AA", "GPT4 5AA"],
}


def unmarked(marked: str) -> tuple[str, list[str]]:
    return re.sub("[«»]", "", marked), re.findall("«([^»]*)»", marked)


@pytest.mark.parametrize(("kind", "marked"), [(kind, text) for kind, texts in POSITIVE.items() for text in texts])
def test_found_with_its_exact_span(kind: str, marked: str) -> None:
    text, wanted = unmarked(marked)
    scan = ALL.scan([text])[0]
    assert [text[f.start : f.end] for f in scan.findings if f.kind == kind] == wanted, scan
    assert kind in scan.values["pii_patterns.entities"]  # type: ignore[operator]


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in NEGATIVE.items() for text in texts])
def test_near_miss_is_not_found(kind: str, text: str) -> None:
    assert [text[f.start : f.end] for f in ALL.scan([text])[0].findings if f.kind == kind] == []


def test_every_kind_has_hits_and_near_misses() -> None:
    assert set(POSITIVE) == set(NEGATIVE) == PATTERN_KINDS


@pytest.mark.parametrize(
    ("text", "evidence"),
    [
        ("4111 1111 1111 1111", "checksum"),
        ("ssn 219-09-9998", "context"),
        ("219-09-9998", "format"),
        ("NHS number 943 476 5919", "checksum"),
    ],
)
def test_evidence_says_why(text: str, evidence: str) -> None:
    assert [f.evidence for f in DEFAULT.scan([text])[0].findings] == [evidence]


def test_values_count_findings_and_name_kinds() -> None:
    scan, nothing = DEFAULT.scan(["a@b.io and c@d.io and 4111111111111111", "What is the interest rate?"])
    assert scan.values == {
        "pii_patterns.entities": frozenset({"EMAIL_ADDRESS", "CREDIT_CARD"}),
        "pii_patterns.count": 3,
    }
    assert (nothing.findings, nothing.values) == ((), {})
    assert {f.detector for f in scan.findings} == {"pii_patterns"}


def test_detector_declares_itself() -> None:
    assert DEFAULT.placement is Placement.INLINE
    assert set(DEFAULT.signals) == {"pii_patterns.entities", "pii_patterns.count"}
    assert PiiPatterns().version == DEFAULT.version
    assert PiiPatterns(kinds=frozenset({"IBAN_CODE"})).version != DEFAULT.version
    assert len({pattern.name for pattern in PATTERNS}) == len(PATTERNS)


def test_optional_kinds_are_reported_on_request_only() -> None:
    text = "See https://example.com on 12 May 2024, aged 45"
    assert DEFAULT.scan([text])[0].findings == ()
    assert {f.kind for f in ALL.scan([text])[0].findings} <= OPTIONAL_KINDS
    only = PiiPatterns(kinds=frozenset({"IBAN_CODE"}))
    assert only.scan(["4111111111111111, GB82WEST12345698765432"])[0].values["pii_patterns.count"] == 1


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no recogniser finds the kind `SHOE_SIZE`: choose from"):
        PiiPatterns(kinds=frozenset({"SHOE_SIZE"}))


@pytest.mark.parametrize(
    "text",
    [
        "call <PHONE_NUMBER_1> about <US_SSN_2>",
        "passport [US_PASSPORT:9f2c41aa03]",
        "my name is <PERSON_1>",
        "IBAN [IBAN_CODE], born on <DATE_OF_BIRTH_1>",
    ],
)
def test_our_own_placeholders_are_no_finding(text: str) -> None:
    assert ALL.scan([text])[0].findings == ()


@pytest.mark.parametrize("text", ["[ABC:4111111111111111]", "<4111111111111111>", "<A_B_4111111111111111>"])
def test_look_alikes_of_placeholders_hide_nothing(text: str) -> None:
    assert [f.kind for f in ALL.scan([text])[0].findings] == ["CREDIT_CARD"]


@pytest.mark.parametrize("prefix", ["", "é" * 7, "e\u0301 ", "😀😀 ", "漢字 ", "\r\n\r\n", "\ud800 ", "x\u200b "])
def test_spans_are_code_points_of_the_text_as_received(prefix: str) -> None:
    text = f"{prefix} 4111 1111 1111 1111 {prefix}"
    assert [text[f.start : f.end] for f in DEFAULT.scan([text])[0].findings] == ["4111 1111 1111 1111"]


@pytest.mark.parametrize(
    "text",
    ["4 " * 50_000, "4" * 50_000, "1." * 50_000, "a@" * 50_000, "GB82 " * 20_000, "12 Elm " * 10_000, "+4 " * 30_000],
)
def test_hostile_repetition_stays_linear(text: str) -> None:
    started = time.process_time()
    DEFAULT.scan([text])
    assert time.process_time() - started < 3.0


def test_what_follows_the_thousandth_match_is_covered() -> None:
    text = "a@b.io " * 1_200
    scan = DEFAULT.scan([text])[0]
    assert scan.findings[-1].evidence == "overflow"
    assert scan.findings[-1].end == len(text)


@given(st.lists(st.sampled_from([text for texts in POSITIVE.values() for text in texts]), max_size=4))
def test_findings_are_disjoint_sorted_and_inside(marked: list[str]) -> None:
    text = "; ".join(unmarked(each)[0] for each in marked)
    findings = ALL.scan([text])[0].findings
    assert all(0 <= f.start < f.end <= len(text) for f in findings)
    assert all(left.end <= right.start for left, right in pairwise(findings))


@given(st.text(max_size=200))
def test_any_text_is_scanned_alike_alone_or_in_a_batch(text: str) -> None:
    assert ALL.scan([text, "4111111111111111", text])[0] == ALL.scan([text])[0]
