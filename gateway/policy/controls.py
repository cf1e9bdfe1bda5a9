"""Controls of regulations and frameworks that sets name: known families, and numbers that an edition has moved.

Source of the numbers: OWASP GenAI Security Project, "OWASP Top 10 for LLM Applications 2026" (4 August 2026) against
the edition of 2025.
"""

import re
from collections.abc import Mapping
from typing import Final

from gateway.strict_yaml import quoted, suggestion

EDITION: Final = "2026"

# The 2025 number of each risk -> its 2026 number and name. System Prompt Leakage is now Hidden Context Exposure.
_MOVED: Final[Mapping[str, tuple[str, str]]] = {
    "01": ("01", "Prompt Injection"),
    "02": ("02", "Sensitive Information Disclosure"),
    "03": ("04", "Supply Chain"),
    "04": ("05", "Data and Model Poisoning"),
    "05": ("10", "Improper Output Handling"),
    "06": ("03", "Excessive Agency"),
    "07": ("08", "Hidden Context Exposure"),
    "08": ("09", "Vector and Embedding Weaknesses"),
    "09": ("07", "Misinformation"),
    "10": ("06", "Unbounded Consumption"),
}

FAMILIES: Final = frozenset(
    {
        "AU-PRIVACY",
        "BCBS-239",
        "BDSG",
        "CCPA",
        "CMS",
        "CWE",
        "DORA",
        "EBA",
        "ECHR",
        "ECOA",
        "EEOC",
        "EIOPA",
        "EPRIVACY",
        "ESMA",
        "EU",
        "EU-AI-ACT",
        "EU-DSA",
        "EU-EECC",
        "EU-MDR",
        "FCA",
        "FCC",
        "FCRA",
        "FDA",
        "FERPA",
        "FFIEC",
        "FINRA",
        "FTC",
        "GDPR",
        "GLBA",
        "HIPAA",
        "HITRUST",
        "ICO",
        "ISO",
        "LGPD",
        "MAS",
        "MHRA",
        "MIFID",
        "MITRE-ATLAS",
        "NAIC",
        "NHS",
        "NIS2",
        "NIST",
        "NYDFS",
        "OCC",
        "OFCOM",
        "OWASP-ASI",
        "OWASP-LLM",
        "PCI-DSS",
        "PIPEDA",
        "PSD2",
        "SEC",
        "SOC2",
        "SOX",
        "SRA",
        "TCPA",
        "UK",
        "US",
    }
)
"""First words of a control; `FCA` stands for `FCA-COBS` too. An organisation's own families begin with `X-`."""

_NUMBERED: Final = re.compile(r"(OWASP-(?:LLM|ASI))([0-9]{2})")
_OWN: Final = "X-"


def unknown_family(control: str) -> str:
    """What is wrong with the family of a control, "" if nothing is."""
    family = control.partition(":")[0]
    numbered = _NUMBERED.fullmatch(family)
    name = numbered.group(1) if numbered else family
    parts = name.split("-")
    known = any("-".join(parts[:count]) in FAMILIES for count in range(1, len(parts) + 1))
    if known or name.startswith(_OWN):
        return ""
    return f"control {quoted(control)} is of no known family: {suggestion(name, FAMILIES)}, or begin it with `{_OWN}`"


def renamed(control: str) -> str:
    """What the current edition calls a control of an older one, "" if it is current or has no editions."""
    family, _, reference = control.partition(":")
    numbered = _NUMBERED.fullmatch(family)
    if numbered is None or numbered.group(1) != "OWASP-LLM" or reference == EDITION:
        return ""
    if reference == "2025" and numbered.group(2) in _MOVED:
        number, name = _MOVED[numbered.group(2)]
        return f"control {quoted(control)} is now `OWASP-LLM{number}:{EDITION}` ({name}): write that"
    return f"control {quoted(control)} names an edition that is out of use: write its number in that of {EDITION}"
