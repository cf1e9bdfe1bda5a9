"""Identifiers that states and networks give to persons."""

import re
from typing import Final

from rules.pii import checksums
from rules.pii.pattern import END, START, Evidence, Pattern


def _four_digits(value: str) -> bool:
    return len(checksums.digits_of(value)) >= 4


def _licence_parts(value: str) -> list[tuple[int, int]]:
    """The longest beginning made of words that hold a digit: a number ends where prose begins."""
    end = 0
    for word in re.finditer(r"[A-Za-z0-9]+", value):
        if not any(char.isdigit() for char in word.group()) and word.start() > 0:
            break
        end = word.end()
    return [(0, end)] if end >= 5 and _four_digits(value[:end]) else []


_UK_LICENCE: Final = re.compile(
    r"[A-Z]{1,5}9{0,4}\d(?:[05][1-9]|[16][0-2])(?:0[1-9]|[12]\d|3[01])\d[A-Z9]{2}\d[A-Z]{2}"
)

NATIONAL: Final = (
    Pattern(
        name="us_ssn",
        kind="US_SSN",
        regex=rf"{START}(\d{{3}}[\-\x{{2010}}-\x{{2015}}]\d{{2}}[\-\x{{2010}}-\x{{2015}}]\d{{4}}){END}",
        check=checksums.us_ssn,
        score=0.85,
        context=r"social security|ssns?|ss#|soc sec|social",
        context_score=0.95,
    ),
    Pattern(
        name="us_ssn_loose",
        kind="US_SSN",
        regex=rf"{START}(\d{{3}}[ .]?\d{{2}}[ .]?\d{{4}}|\d(?:[ .\-]\d){{8}}){END}",
        check=checksums.us_ssn,
        context=r"social security|ssns?|ss#|soc sec|social",
        context_score=0.9,
    ),
    Pattern(
        name="us_itin",
        kind="US_ITIN",
        regex=r"\b9\d{2}[- ]?\d{2}[- ]?\d{4}\b",
        check=lambda value: "-" in value and checksums.us_itin(value),
        score=0.8,
        context=r"itin|individual taxpayer|tax ?payer|tax id",
        context_score=0.95,
    ),
    Pattern(
        name="us_itin_loose",
        kind="US_ITIN",
        regex=r"\b9\d{2} ?\d{2} ?\d{4}\b",
        check=checksums.us_itin,
        context=r"itin|individual taxpayer|tax ?payer|tax id",
        context_score=0.9,
    ),
    Pattern(
        name="us_passport",
        kind="US_PASSPORT",
        regex=r"\b(?:\d{9}|[A-Za-z]\d{8})\b",
        context=r"passport|reisepass|passeport|pasaporte|passaporto|passnummer",
        context_score=0.85,
        before=40,
    ),
    Pattern(
        name="passport",
        kind="PASSPORT",
        regex=r"\b[A-Za-z]{0,3}\d[A-Za-z0-9]{4,9}\b",
        check=_four_digits,
        context=r"passport|reisepass|passeport|pasaporte|passaporto|passnummer",
        context_score=0.8,
        before=32,
        after=0,
    ),
    Pattern(
        name="driver_license",
        kind="US_DRIVER_LICENSE",
        regex=r"\b(?:[A-Z]{1,3} )?[A-Za-z]{0,3}-?\d[A-Za-z0-9]{0,5}(?:[ \-]?[A-Za-z0-9]{2,8}){0,4}\b",
        parts=_licence_parts,
        context=(
            r"driver'?s?'?s? licen[cs]e|driving licen[cs]e|licen[cs]e (?:number|no|#)|dl ?(?:#|no|number)|"
            r"drivers permit"
        ),
        context_score=0.85,
        before=36,
        after=0,
    ),
    Pattern(
        name="uk_driving_licence",
        kind="UK_DRIVING_LICENCE",
        regex=r"\b[A-Z9]{5}\d{6}[A-Z9]{2}\d[A-Z]{2}\b",
        check=lambda value: _UK_LICENCE.fullmatch(value) is not None,
        score=0.9,
    ),
    Pattern(
        name="uk_nino",
        kind="UK_NINO",
        regex=r"(?i)\b[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z][ -]?\d{2}[ -]?\d{2}[ -]?\d{2}[ -]?[A-D]\b",
        check=checksums.uk_nino,
        score=0.85,
        context=r"nino|ni (?:number|no)|national insurance|insurance number",
        context_score=0.95,
    ),
    Pattern(
        name="de_tax_id",
        kind="DE_TAX_ID",
        regex=r"\b[1-9]\d[ ]?\d{3}[ ]?\d{3}[ ]?\d{3}\b",
        check=checksums.de_tax_id,
        context=r"steuer\S*|idnr|tax (?:id|number|identification)|tin|identifikationsnummer",
        context_score=1.0,
        evidence=Evidence.CHECKSUM,
    ),
    Pattern(
        name="es_nif",
        kind="ES_NIF",
        regex=r"\b\d{7,8}[ -]?[A-HJ-NP-TV-Za-hj-np-tv-z]\b",
        check=checksums.es_nif,
        score=0.7,
        context=r"dni|nif|documento|identidad|identificación|identificacion|spanish|tax",
        context_score=1.0,
        evidence=Evidence.CHECKSUM,
    ),
    Pattern(
        name="es_nie",
        kind="ES_NIE",
        regex=r"\b[XYZxyz][ -]?\d{7}[ -]?[A-HJ-NP-TV-Za-hj-np-tv-z]\b",
        check=checksums.es_nif,
        score=1.0,
        evidence=Evidence.CHECKSUM,
    ),
    Pattern(
        name="it_fiscal_code",
        kind="IT_FISCAL_CODE",
        # In groups only as printed: in small letters, `the b` would be the beginning of one and hold a stream up.
        regex=(
            r"\b(?:[A-Z]{3} ?[A-Z]{3} ?[0-9L-NP-V]{2}[A-EHLMPR-T][0-9L-NP-V]{2} ?[A-Z][0-9L-NP-V]{3}[A-Z]"
            r"|(?i:[A-Z]{6}[0-9L-NP-V]{2}[A-EHLMPR-T][0-9L-NP-V]{2}[A-Z][0-9L-NP-V]{3}[A-Z]))\b"
        ),
        check=checksums.it_fiscal_code,
        score=1.0,
        evidence=Evidence.CHECKSUM,
    ),
    Pattern(
        name="fr_insee",
        kind="FR_INSEE",
        regex=r"\b[1-478] ?\d{2} ?(?:0[1-9]|[1-9]\d) ?(?:\d{2}|2[ABab]) ?\d{3} ?\d{3} ?\d{2}\b",
        check=checksums.fr_insee,
        score=1.0,
        evidence=Evidence.CHECKSUM,
    ),
    Pattern(
        name="nl_bsn",
        kind="NL_BSN",
        regex=r"\b\d{4}[ .]?\d{2}[ .]?\d{3}\b",
        check=checksums.nl_bsn,
        context=r"bsn|burgerservicenummer|sofi\S*|citizen service",
        context_score=1.0,
        evidence=Evidence.CHECKSUM,
    ),
    Pattern(
        name="ch_ahv",
        kind="CH_AHV",
        regex=r"\b756[ .]?\d{4}[ .]?\d{4}[ .]?\d{2}\b",
        check=checksums.ch_ahv,
        score=1.0,
        evidence=Evidence.CHECKSUM,
    ),
    Pattern(
        name="br_cpf",
        kind="BR_CPF",
        regex=r"\b\d{3}\.\d{3}\.\d{3}-\d{2}\b",
        check=checksums.br_cpf,
        score=1.0,
        evidence=Evidence.CHECKSUM,
    ),
    Pattern(
        name="br_cpf_plain",
        kind="BR_CPF",
        regex=r"\b\d{11}\b",
        check=checksums.br_cpf,
        context=r"cpf|cadastro",
        context_score=1.0,
        evidence=Evidence.CHECKSUM,
    ),
    Pattern(
        name="ca_sin",
        kind="CA_SIN",
        regex=r"\b[1-79]\d{2}[ -]?\d{3}[ -]?\d{3}\b",
        check=checksums.ca_sin,
        context=r"sin|social insurance|assurance sociale|nas",
        context_score=1.0,
        evidence=Evidence.CHECKSUM,
    ),
    Pattern(
        name="pl_pesel",
        kind="PL_PESEL",
        regex=r"\b\d{11}\b",
        check=checksums.pl_pesel,
        score=0.6,
        context=r"pesel",
        context_score=1.0,
        evidence=Evidence.CHECKSUM,
    ),
    Pattern(
        name="se_personnummer",
        kind="SE_PERSONNUMMER",
        regex=r"\b(?:19|20)?\d{6}[-+]\d{4}\b",
        check=checksums.se_personnummer,
        score=0.8,
        context=r"personnummer|swedish|personal number",
        context_score=1.0,
        evidence=Evidence.CHECKSUM,
    ),
    Pattern(
        name="fi_hetu",
        kind="FI_PERSONAL_IDENTITY_CODE",
        regex=r"\b[0-3]\d[01]\d{3}[-+A-FU-Y]\d{3}[0-9A-FHJ-NPR-Y]\b",
        check=checksums.fi_hetu,
        score=1.0,
        evidence=Evidence.CHECKSUM,
    ),
    Pattern(
        name="in_aadhaar",
        kind="IN_AADHAAR",
        regex=r"\b[2-9]\d{3}[ -]?\d{4}[ -]?\d{4}\b",
        check=checksums.in_aadhaar,
        context=r"aadhaar|aadhar|uidai|uid",
        context_score=1.0,
        evidence=Evidence.CHECKSUM,
    ),
    Pattern(
        name="in_pan",
        kind="IN_PAN",
        regex=r"\b[A-Z]{3}[ABCFGHLJPT][A-Z]\d{4}[A-Z]\b",
        score=0.7,
        context=r"pan|permanent account|income tax",
        context_score=0.95,
    ),
    Pattern(
        name="sg_fin",
        kind="SG_NRIC_FIN",
        regex=r"(?i)\b[STFGM]\d{7}[A-Z]\b",
        check=checksums.sg_fin,
        score=0.9,
        evidence=Evidence.CHECKSUM,
    ),
    Pattern(
        name="au_tfn",
        kind="AU_TFN",
        regex=r"\b\d{3}[ -]?\d{3}[ -]?\d{3}\b",
        check=checksums.au_tfn,
        context=r"tfn|tax file",
        context_score=1.0,
        evidence=Evidence.CHECKSUM,
    ),
    Pattern(
        name="national_id",
        kind="NATIONAL_ID",
        regex=(
            r"(?i)\b(?:national id(?:entity)?(?: (?:card|number|no\.?))?|identity card|id card|"
            r"personalausweis(?:nummer)?|"
            r"ausweisnummer|carte d'identité|c[eé]dula)[\s:#.\-]{0,4}(?:(?:number|no\.?|nr\.?|is)[\s:]{1,2}){0,2}"
            r"([a-z]{0,3}-?\d[a-z0-9.\-]{4,14}[a-z0-9])\b"
        ),
        evidence=Evidence.CONTEXT,
        score=0.85,
    ),
    Pattern(
        name="imei",
        kind="IMEI",
        regex=r"\b\d{2}[ -]?\d{6}[ -]?\d{6}[ -]?\d\b",
        check=checksums.imei,
        context=r"imei|handset|device|phone",
        context_score=1.0,
        evidence=Evidence.CHECKSUM,
    ),
    Pattern(
        name="iccid",
        kind="ICCID",
        regex=r"\b89\d{17,18}\b",
        check=checksums.iccid,
        context=r"iccid|sim",
        context_score=1.0,
        evidence=Evidence.CHECKSUM,
    ),
)
