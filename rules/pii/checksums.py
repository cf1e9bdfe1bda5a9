"""Check digits and number rules of cards, accounts and national identifiers.

Each function takes the value as matched (separators allowed) and says whether it may be a real one. Pure. Sources are
named per function; ISO/IEC 7064 and ISO/IEC 7812 are the standards behind most.
"""

import hashlib
import ipaddress
import re
from collections.abc import Sequence
from datetime import date
from typing import Final

_NOT_ALNUM: Final = re.compile(r"[^0-9A-Za-z]")
_NOT_DIGIT: Final = re.compile(r"[^0-9]")


def digits_of(value: str) -> str:
    return _NOT_DIGIT.sub("", value)


def alnum_of(value: str) -> str:
    return _NOT_ALNUM.sub("", value).upper()


def luhn(digits: str) -> bool:
    """ISO/IEC 7812-1 annex B."""
    total = 0
    for place, char in enumerate(reversed(digits)):
        digit = int(char)
        if place % 2:
            digit = digit * 2 - 9 if digit > 4 else digit * 2
        total += digit
    return total % 10 == 0 and len(set(digits)) > 1


# Issuer ranges by leading digits, with the lengths in use (ISO/IEC 7812 register as published by the schemes).
_ISSUERS: Final = (
    (re.compile(r"4"), (13, 16, 19)),  # Visa
    (re.compile(r"5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)"), (16,)),  # Mastercard
    (re.compile(r"3[47]"), (15,)),  # American Express
    (re.compile(r"6011|65|64[4-9]|622"), (16, 17, 18, 19)),  # Discover
    (re.compile(r"35(?:2[89]|[3-8])"), (16, 17, 18, 19)),  # JCB
    (re.compile(r"3(?:0[0-5]|095|6|8|9)"), (14, 15, 16)),  # Diners Club
    (re.compile(r"62|81"), (16, 17, 18, 19)),  # UnionPay
    (re.compile(r"50|5[6-9]|6[37]"), (12, 13, 14, 15, 16, 17, 18, 19)),  # Maestro
)


def is_card(digits: str) -> bool:
    """A payment card number: an issuer's prefix, a length it uses, and the Luhn check."""
    return any(len(digits) in lengths and prefix.match(digits) for prefix, lengths in _ISSUERS) and luhn(digits)


# Length of an IBAN by country (SWIFT IBAN registry, release 99).
_IBAN_COUNTRIES: Final = {
    15: "NO",
    16: "BE",
    18: "DK FI FK FO GL NL SD",
    19: "MK SI",
    20: "AT BA EE KZ LT LU MN XK",
    21: "CH HR LI LV",
    22: "BG BH CR DE GB GE IE ME RS VA",
    23: "AE GI IL IQ OM SO TL",
    24: "AD CZ ES MD PK RO SA SE SK TN VG",
    25: "LY PT ST",
    26: "IS TR",
    27: "BI DJ FR GR IT MC MR SM",
    28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
    29: "BR EG PS QA UA",
    30: "JO KW MU YE",
    31: "MT SC",
    32: "LC",
    33: "RU",
}
_IBAN_LENGTHS: Final = {country: n for n, countries in _IBAN_COUNTRIES.items() for country in countries.split()}


def iban_length(country: str) -> int:
    """Characters of an IBAN of that country; 0 where there are none."""
    return _IBAN_LENGTHS.get(country.upper(), 0)


def iban(value: str) -> bool:
    """ISO 13616: the remainder of the rearranged number by 97 is 1 (ISO/IEC 7064 MOD 97-10)."""
    text = alnum_of(value)
    if not text or iban_length(text[:2]) != len(text):
        return False
    return int("".join(str(int(char, 36)) for char in text[4:] + text[:4])) % 97 == 1


def weighted(digits: str, weights: Sequence[int], modulus: int) -> int:
    """Sum of products modulo `modulus`."""
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=False)) % modulus


def us_ssn(value: str) -> bool:
    """Social Security Administration: no area 000, 666 or 9xx, no group 00, no serial 0000; not an advertised one."""
    digits = digits_of(value)
    if len(digits) != 9 or digits in {"078051120", "219099999", "123456789"} or len(set(digits)) == 1:
        return False
    return digits[:3] not in {"000", "666"} and digits[0] != "9" and digits[3:5] != "00" and digits[5:] != "0000"


def us_itin(value: str) -> bool:
    """Internal Revenue Service: area 9xx and group 50-65, 70-88, 90-92, 94-99."""
    digits = digits_of(value)
    group = int(digits[3:5]) if len(digits) == 9 else 0
    return digits[:1] == "9" and (50 <= group <= 65 or 70 <= group <= 88 or 90 <= group <= 92 or 94 <= group <= 99)


def aba_routing(value: str) -> bool:
    """American Bankers Association: weights 3, 7, 1, and a known first pair."""
    digits = digits_of(value)
    first = int(digits[:2]) if len(digits) == 9 else 99
    known = first <= 12 or 21 <= first <= 32 or 61 <= first <= 72 or first == 80
    return known and digits != "0" * 9 and weighted(digits, (3, 7, 1) * 3, 10) == 0


def dea(value: str) -> bool:
    """Registration number of the US Drug Enforcement Administration."""
    digits = digits_of(value)
    if len(digits) != 7:
        return False
    odd, even = (sum(map(int, digits[start:6:2])) for start in (0, 1))
    return (odd + 2 * even) % 10 == int(digits[6])


def us_npi(value: str) -> bool:
    """National Provider Identifier: Luhn over the number behind the prefix 80840."""
    digits = digits_of(value)
    return len(digits) == 10 and digits[0] in "12" and luhn("80840" + digits)


def uk_nhs(value: str) -> bool:
    """NHS Data Dictionary: weights 10 to 2, modulo 11."""
    digits = digits_of(value)
    if len(digits) != 10 or len(set(digits)) == 1:
        return False
    return (11 - weighted(digits, range(10, 1, -1), 11)) % 11 == int(digits[9])


def uk_nino(value: str) -> bool:
    """HM Revenue & Customs manual NIM39110: prefixes that are never given."""
    return alnum_of(value)[:2] not in {"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"}


def de_tax_id(value: str) -> bool:
    """Steuerliche Identifikationsnummer: one digit of the first ten occurs twice or thrice, ISO/IEC 7064 MOD 11,10."""
    digits = digits_of(value)
    if len(digits) != 11 or digits[0] == "0":
        return False
    counts = sorted((digits[:10].count(char) for char in set(digits[:10])), reverse=True)
    if counts[0] not in (2, 3) or counts[1:2] not in ([1], []):
        return False
    product = 10
    for char in digits[:10]:
        product = ((product + int(char)) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == int(digits[10])


_NIF_LETTERS: Final = "TRWAGMYFPDXBNJZSQVHLCKE"


def es_nif(value: str) -> bool:
    """Spanish DNI and NIE: the letter is the number modulo 23."""
    text = alnum_of(value)
    number = text[:-1]
    if number[:1] in {"X", "Y", "Z"}:
        number = str("XYZ".index(number[0])) + number[1:]
    return number.isdigit() and 7 <= len(number) <= 8 and text[-1] == _NIF_LETTERS[int(number) % 23]


_CF_ODD: Final = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (
            1,
            0,
            5,
            7,
            9,
            13,
            15,
            17,
            19,
            21,
            1,
            0,
            5,
            7,
            9,
            13,
            15,
            17,
            19,
            21,
            2,
            4,
            18,
            20,
            11,
            3,
            6,
            8,
            12,
            14,
            16,
            10,
            22,
            25,
            24,
            23,
        ),
        strict=True,
    )
)


def it_fiscal_code(value: str) -> bool:
    """Codice fiscale: decree of 12 March 1974, table of odd and even places modulo 26."""
    text = alnum_of(value)
    if len(text) != 16:
        return False
    odd = sum(_CF_ODD[char] for char in text[:15:2])
    even = sum(int(char, 36) - (10 if char.isalpha() else 0) for char in text[1:15:2])
    return chr(ord("A") + (odd + even) % 26) == text[15]


def fr_insee(value: str) -> bool:
    """Numéro de sécurité sociale: key 97 minus the number modulo 97; Corsica counts as 19 and 18."""
    text = alnum_of(value).replace("2A", "19").replace("2B", "18")
    return len(text) == 15 and text.isdigit() and 97 - int(text[:13]) % 97 == int(text[13:])


def nl_bsn(value: str) -> bool:
    """Burgerservicenummer: the test of eleven with last weight -1."""
    digits = digits_of(value)
    return len(digits) == 9 and digits != "0" * 9 and weighted(digits, (9, 8, 7, 6, 5, 4, 3, 2, -1), 11) == 0


def ch_ahv(value: str) -> bool:
    """Swiss AHV number: EAN-13 check digit behind 756."""
    digits = digits_of(value)
    return len(digits) == 13 and digits[:3] == "756" and weighted(digits, (1, 3) * 6 + (1,), 10) == 0


def br_cpf(value: str) -> bool:
    """Cadastro de Pessoas Físicas: two check digits modulo 11."""
    digits = digits_of(value)
    if len(digits) != 11 or len(set(digits)) == 1:
        return False
    return all(
        weighted(digits[:count], range(count + 1, 1, -1), 11) * 10 % 11 % 10 == int(digits[count]) for count in (9, 10)
    )


def ca_sin(value: str) -> bool:
    """Canadian social insurance number: Luhn, first digit not 0 or 8."""
    digits = digits_of(value)
    return len(digits) == 9 and digits[0] not in "08" and luhn(digits)


def pl_pesel(value: str) -> bool:
    """Polish PESEL: weights 1, 3, 7, 9 and a date with the century in the month."""
    digits = digits_of(value)
    if len(digits) != 11 or weighted(digits, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1), 10) != 0:
        return False
    century, month = divmod(int(digits[2:4]), 20)
    return _is_date((1900, 2000, 2100, 2200, 1800)[century] + int(digits[:2]), month, int(digits[4:6]))


def se_personnummer(value: str) -> bool:
    """Swedish personnummer: Luhn over the last ten digits, which begin with a date."""
    digits = digits_of(value)[-10:]
    return len(digits) == 10 and _is_date(2000, int(digits[2:4]), int(digits[4:6])) and luhn(digits)


def fi_hetu(value: str) -> bool:
    """Finnish henkilötunnus: the nine digits modulo 31."""
    digits = digits_of(value[:10])
    return len(digits) == 9 and "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(digits) % 31] == value[-1].upper()


_VERHOEFF_PRODUCT: Final = (
    "0123456789", "1234067895", "2340178956", "3401289567", "4012395678",
    "5987604321", "6598710432", "7659821043", "8765932104", "9876543210",
)  # fmt: skip
_VERHOEFF_PERMUTATION: Final = (
    "0123456789", "1576283094", "5803796142", "8916043527", "9453126870", "4286573901", "2793806415", "7046913258",
)  # fmt: skip


def in_aadhaar(value: str) -> bool:
    """Indian Aadhaar: Verhoeff's scheme (1969), first digit above 1, not a palindrome."""
    digits = digits_of(value)
    if len(digits) != 12 or digits[0] in "01" or digits == digits[::-1]:
        return False
    check = 0
    for place, char in enumerate(reversed(digits)):
        check = int(_VERHOEFF_PRODUCT[check][int(_VERHOEFF_PERMUTATION[place % 8][int(char)])])
    return check == 0


def sg_fin(value: str) -> bool:
    """Singapore NRIC and FIN: weights 2, 7, 6, 5, 4, 3, 2 modulo 11, a table of letters per series."""
    text = value.upper()
    offset = {"S": 0, "T": 4, "F": 0, "G": 4, "M": 3}.get(text[:1], 0)
    rest = (weighted(text[1:8], (2, 7, 6, 5, 4, 3, 2), 11) + offset) % 11
    letters = "JZIHGFEDCBA" if text[0] in "ST" else "XWUTRQPNMLK"
    return len(text) == 9 and (text[8] == (letters[rest] if text[0] != "M" else "KLJNPQRTUWX"[10 - rest]))


def au_tfn(value: str) -> bool:
    """Australian tax file number: weights 1, 4, 3, 7, 5, 8, 6, 9, 10 modulo 11."""
    digits = digits_of(value)
    return len(digits) == 9 and len(set(digits)) > 1 and weighted(digits, (1, 4, 3, 7, 5, 8, 6, 9, 10), 11) == 0


def au_medicare(value: str) -> bool:
    """Australian Medicare card: weights 1, 3, 7, 9 modulo 10 in the ninth place, first digit 2 to 6."""
    digits = digits_of(value)
    return (
        len(digits) in (10, 11)
        and digits[0] in "23456"
        and weighted(digits[:8], (1, 3, 7, 9) * 2, 10) == int(digits[8])
    )


def imei(value: str) -> bool:
    """3GPP TS 23.003: fifteen digits with Luhn."""
    digits = digits_of(value)
    return len(digits) == 15 and luhn(digits)


def iccid(value: str) -> bool:
    """ITU-T E.118: 89, then country and issuer, Luhn over all."""
    digits = digits_of(value)
    return len(digits) in (19, 20) and digits[:2] == "89" and luhn(digits)


_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BECH32: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"


def bitcoin(value: str) -> bool:
    """Base58Check (double SHA-256), or Bech32 and Bech32m (BIP 173, BIP 350)."""
    if value[:3].lower() == "bc1":
        return _bech32_checksum(value.lower()) in (1, 0x2BC830A3)
    number = 0
    for char in value:
        number = number * 58 + _BASE58.index(char)
    if number >> 200:
        return False
    raw = number.to_bytes(25, "big")
    return hashlib.sha256(hashlib.sha256(raw[:21]).digest()).digest()[:4] == raw[21:]


def _bech32_checksum(text: str) -> int:
    values = [3, 3, 0, 2, 3]  # `bc` expanded
    values += [_BECH32.find(char) for char in text[3:]]
    if -1 in values:
        return 0
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if top >> bit & 1 else 0
    return check


def ip_address(value: str) -> bool:
    """An address that may belong to somebody: not unspecified, loopback, multicast or a mask."""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return False
    mask = value.startswith("255.")
    return not (address.is_unspecified or address.is_loopback or address.is_multicast or mask)


def _is_date(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True
