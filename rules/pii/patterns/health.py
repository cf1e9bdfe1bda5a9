"""Numbers of patients, insurances and prescribers."""

from typing import Final

from rules.pii.checksums import au_medicare, dea, uk_nhs, us_npi
from rules.pii.pattern import Evidence, Pattern

HEALTH: Final = (
    Pattern(
        name="uk_nhs",
        kind="UK_NHS",
        regex=r"\b\d{3}[ -]?\d{3}[ -]?\d{4}\b",
        check=uk_nhs,
        context=r"nhs|national health|patient|health service|gp|hospital",
        context_score=1.0,
        evidence=Evidence.CHECKSUM,
    ),
    Pattern(
        name="medical_record",
        kind="MEDICAL_RECORD_NUMBER",
        regex=(
            r"(?i)\b(?:mrn|medical record(?: (?:number|no\.?|id))?|patient (?:id|number|no\.?)|chart (?:number|no\.?)|"
            r"hospital (?:number|no\.?)|case file|patienten-?(?:nummer|id|nr\.?))[\s:#=.\-]{0,4}(?:is\s)?"
            r"([a-z]{0,4}[ \-]?\d[a-z0-9\-]{3,14})\b"
        ),
        evidence=Evidence.CONTEXT,
        score=0.9,
    ),
    Pattern(
        name="us_mbi",
        kind="US_MBI",
        regex=(
            r"\b[1-9][AC-HJKMNP-RT-Y][AC-HJKMNP-RT-Y0-9]\d-?[AC-HJKMNP-RT-Y][AC-HJKMNP-RT-Y0-9]\d-?"
            r"[AC-HJKMNP-RT-Y]{2}\d{2}\b"
        ),
        score=0.8,
        context=r"medicare|mbi|beneficiary|insurance",
        context_score=0.95,
    ),
    Pattern(
        name="dea",
        kind="MEDICAL_LICENSE",
        regex=r"\b[ABCDEFGHJKLMPRSTUXabcdefghjklmprstux][A-Za-z9]\d{7}\b",
        check=dea,
        score=0.6,
        context=r"dea|prescriber|medical|certificate|licen[cs]e|registration",
        context_score=1.0,
        evidence=Evidence.CHECKSUM,
    ),
    Pattern(
        name="us_npi",
        kind="US_NPI",
        regex=r"\b[12]\d{9}\b",
        check=us_npi,
        context=r"npi|national provider|provider (?:id|identifier|number)",
        context_score=1.0,
        evidence=Evidence.CHECKSUM,
    ),
    Pattern(
        name="au_medicare",
        kind="AU_MEDICARE",
        regex=r"\b[2-6]\d{3}[ -]?\d{5}[ -]?\d(?:[ -/]\d)?\b",
        check=au_medicare,
        context=r"medicare",
        context_score=1.0,
        evidence=Evidence.CHECKSUM,
    ),
    Pattern(
        name="health_insurance",
        kind="HEALTH_INSURANCE_NUMBER",
        regex=(
            r"(?i)\b(?:health insurance|insurance (?:id|member)|member id|health plan|versicherten-?nummer|"
            r"krankenversicherungsnummer)"
            r"[^\d\n]{0,20}?\b([a-z]{0,3}\d[a-z0-9\-]{5,14})\b"
        ),
        evidence=Evidence.CONTEXT,
        score=0.8,
    ),
)
