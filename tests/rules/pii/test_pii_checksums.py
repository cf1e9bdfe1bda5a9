"""Check digits: published or computed examples pass, and a changed digit does not."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rules.pii import checksums

VALID: list[tuple[Callable[[str], bool], list[str]]] = [
    (checksums.luhn, ["4111111111111111", "79927398713"]),
    (checksums.is_card, ["4222222222222", "5555555555554444", "2223003122003222", "378282246310005", "30569309025904"]),
    (checksums.iban, ["GB82 WEST 1234 5698 7654 32", "DE89370400440532013000", "NO9386011117947"]),
    (checksums.us_npi, ["1234567893"]),
    (checksums.uk_nhs, ["943 476 5919", "4010232137"]),
    (checksums.aba_routing, ["021000021", "111000025"]),
    (checksums.dea, ["AB1234563"]),
    (checksums.de_tax_id, ["65929970489", "36574261809"]),
    (checksums.es_nif, ["12345678Z", "X1234567L"]),
    (checksums.it_fiscal_code, ["RSSMRA85T10A562S"]),
    (checksums.fr_insee, ["255081416802538"]),
    (checksums.nl_bsn, ["111222333", "123456782"]),
    (checksums.ch_ahv, ["756.9217.0769.85"]),
    (checksums.br_cpf, ["529.982.247-25", "111.444.777-35"]),
    (checksums.ca_sin, ["130 692 544"]),
    (checksums.pl_pesel, ["44051401359"]),
    (checksums.se_personnummer, ["811218-9876", "19811218-9876"]),
    (checksums.fi_hetu, ["131052-308T"]),
    (checksums.in_aadhaar, ["2341 2341 2346"]),
    (checksums.sg_fin, ["S1234567D", "G1234567X"]),
    (checksums.au_tfn, ["123 456 782"]),
    (checksums.au_medicare, ["2123 45670 1"]),
    (checksums.imei, ["490154203237518"]),
    (checksums.iccid, ["8991101200003204514"]),
]
EVERY = [(check, value) for check, values in VALID for value in values]


@pytest.mark.parametrize(("check", "value"), EVERY)
def test_valid_example_passes(check: Callable[[str], bool], value: str) -> None:
    assert check(value)


@pytest.mark.parametrize(("check", "value"), EVERY)
def test_no_single_changed_last_character_passes(check: Callable[[str], bool], value: str) -> None:
    last = max(i for i, char in enumerate(value) if char.isalnum())
    if check is checksums.au_medicare:  # its check digit stands in the ninth place
        last -= 2
    alphabet = "0123456789" if value[last].isdigit() else "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    passing = [char for char in alphabet if check(value[:last] + char + value[last + 1 :])]
    assert passing == [value[last]]


@pytest.mark.parametrize(
    ("check", "value"),
    [
        (checksums.luhn, "0000000000000000"),
        (checksums.is_card, "9111111111111117"),
        (checksums.is_card, "41111111111111110"),
        (checksums.iban, "GB82WEST1234569876543"),
        (checksums.iban, "XX82WEST12345698765432"),
        (checksums.us_ssn, "219-09-999"),
        (checksums.us_ssn, "111-11-1111"),
        (checksums.us_itin, "912-93-1234"),
        (checksums.uk_nhs, "0000000000"),
        (checksums.uk_nino, "GB123456A"),
        (checksums.de_tax_id, "11111111111"),
        (checksums.br_cpf, "111.111.111-11"),
        (checksums.in_aadhaar, "0341 2341 2346"),
        (checksums.pl_pesel, "44139401352"),
        (checksums.au_tfn, "000 000 000"),
        (checksums.nl_bsn, "000000000"),
        (checksums.ip_address, "::1"),
        (checksums.ip_address, "224.0.0.1"),
        (checksums.bitcoin, "11111111111111111111111111"),
    ],
)
def test_impossible_value_fails(check: Callable[[str], bool], value: str) -> None:
    assert not check(value)


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        ("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", True),
        ("3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy", True),
        ("bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", True),
        ("BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4", True),
        ("bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr", True),
        ("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN3", False),
        ("bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdp", False),
    ],
)
def test_wallets(value: str, valid: bool) -> None:
    assert checksums.bitcoin(value) is valid


def test_itin_and_ssn_never_share_a_number() -> None:
    assert checksums.us_itin("912-70-1234")
    assert not checksums.us_ssn("912-70-1234")


@given(st.from_regex(r"[0-9A-Za-z .-]{0,40}", fullmatch=True))
def test_value_of_any_shape_is_judged_not_raised(value: str) -> None:
    for check in (checksums.iban, checksums.us_ssn, checksums.us_itin, checksums.uk_nhs, checksums.de_tax_id):
        assert check(value) in (True, False)
    for check in (checksums.fr_insee, checksums.au_tfn, checksums.in_aadhaar, checksums.imei, checksums.ip_address):
        assert check(value) in (True, False)
