"""What secrets look like: one row per kind, most telling first.

A row's expression finds candidates, its first group is the secret itself, and its check decides. Formats are those
that the issuers document, mostly so that scanners can find leaked tokens. A value in a context (`password is …`)
scores lower than one that has a format.
"""

import re
from collections.abc import Callable
from typing import Final

from msgspec import Struct

from rules.secrets.plausible import (
    is_basic_credential,
    is_jwt,
    is_opaque,
    is_password,
    is_random,
    is_stand_in,
    is_url_password,
)


class Format(Struct, frozen=True, kw_only=True):
    """`check` gets the candidate's own text. `evidence` is `format`, `decoded` or `context`."""

    kind: str
    regex: str
    check: Callable[[str], bool] = is_random
    evidence: str = "format"
    score: float = 1.0


def _is_openai_key(value: str) -> bool:
    return not value.startswith("sk-ant-") and any(map(str.isdigit, value)) and is_random(value, bits=3.5)


def _is_not_stand_in(value: str) -> bool:
    return not is_stand_in(value)


def _is_aws_secret(value: str) -> bool:
    return is_random(value, bits=4.0) and not re.fullmatch("[0-9a-fA-F]+", value)


_END: Final = r"(?:$|[^A-Za-z0-9_-])"
_ASSIGN: Final = r"""["'`]?\s{0,3}(?:=>|:=|==?|:|\bis\b|\bist\b|\blautet\b|\best\b|\bes\b)\s{0,3}:?\s{0,3}["'`]?"""
_HUMAN_CREDENTIAL: Final = (
    r"(?i:pass(?:word|wd|phrase|code)|passwort|kennwort|mot de passe|contrase(?:\x{f1}|n)a|parola d'ordine|wachtwoord"
    r"|senha|\bpwd|_pass)"
)
_OF_WHAT: Final = r"(?:\s(?:for|to|of|on|zu|f\x{fc}r|vom|pour|de|du|para)\s[^\n:=]{1,40}?)?"
_MACHINE_CREDENTIAL: Final = (
    r"(?i:api[ _-]?key|apikey|access[ _-]?key|secret[ _-]?key|private[ _-]?key|account[ _-]?key|encryption[ _-]?key"
    r"|client[ _-]?secret|shared[ _-]?secret|secret|auth[ _-]?token|access[ _-]?token|refresh[ _-]?token"
    r"|bearer[ _-]?token|bot[ _-]?token|token|credentials?|api-schl\x{fc}ssel|geheimnis)"
)

FORMATS: Final = (
    Format(kind="secret.gateway_key", regex=r"\b(gw_[0-9a-hjkmnp-tv-z]{10}_[0-9a-hjkmnp-tv-z]{39})" + _END),
    Format(kind="secret.aws_access_key", regex=r"\b((?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16})\b"),
    Format(
        kind="secret.aws_secret_key",
        regex=r"(?i:aws|secret)[A-Za-z_ -]{0,24}(?i:key)" + _ASSIGN + r"([A-Za-z0-9/+]{40})(?:$|[^A-Za-z0-9/+=])",
        check=_is_aws_secret,
        evidence="context",
    ),
    Format(
        kind="secret.github_token",
        regex=r"\b(gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59})\b",
    ),
    Format(
        kind="secret.gitlab_token",
        regex=r"\b(gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|soat|ffct)-[A-Za-z0-9_-]{20,64})" + _END,
    ),
    Format(
        kind="secret.slack_token",
        regex=r"\b(xox[abceoprs]-[A-Za-z0-9-]{10,250}|xapp-[0-9]-[A-Za-z0-9-]{20,250})|"
        r"(?:hooks\.slack\.com/(?:services|workflows)/[A-Za-z0-9/]{20,100})",
    ),
    Format(
        kind="secret.stripe_key", regex=r"\b((?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,250}|whsec_[A-Za-z0-9+/]{24,100})"
    ),
    Format(
        kind="secret.google_key",
        regex=r"\b(AIza[A-Za-z0-9_-]{35}|GOCSPX-[A-Za-z0-9_-]{28}|ya29\.[A-Za-z0-9_-]{20,1000})" + _END,
    ),
    Format(
        kind="secret.azure_key",
        regex=r"(?:(?:AccountKey|SharedAccessKey)=|[?&]sig=)([A-Za-z0-9%+/]{40,90}(?:={1,2}|%3[Dd]))"
        r"|\b[A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}",
    ),
    Format(
        kind="secret.anthropic_key",
        regex=r"\b(sk-ant-[a-z0-9]{3,12}-[A-Za-z0-9_-]{20,200})" + _END,
        check=_is_not_stand_in,
    ),
    Format(kind="secret.openai_key", regex=r"\b(sk-[A-Za-z0-9_-]{20,250})" + _END, check=_is_openai_key),
    Format(kind="secret.huggingface_token", regex=r"\b(hf_[A-Za-z]{34})\b"),
    Format(kind="secret.npm_token", regex=r"\b(npm_[A-Za-z0-9]{36})\b"),
    Format(kind="secret.pypi_token", regex=r"\b(pypi-AgEI[A-Za-z0-9_-]{50,1000})"),
    Format(kind="secret.sendgrid_key", regex=r"\b(SG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43})" + _END),
    Format(kind="secret.vault_token", regex=r"\b(hv[sbr]\.[A-Za-z0-9_-]{24,200})" + _END),
    Format(kind="secret.databricks_token", regex=r"\b(dapi[0-9a-f]{32})\b"),
    Format(kind="secret.docker_token", regex=r"\b(dckr_(?:pat|oat)_[A-Za-z0-9_-]{27,64})" + _END),
    Format(kind="secret.digitalocean_token", regex=r"\b(do[opr]_v1_[0-9a-f]{64})\b"),
    Format(kind="secret.shopify_token", regex=r"\b(shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32})\b"),
    Format(kind="secret.telegram_token", regex=r"\b([0-9]{8,10}:AA[A-Za-z0-9_-]{33})" + _END),
    Format(
        kind="secret.jwt",
        regex=r"\b(eyJ[A-Za-z0-9_-]{8,1000}\.[A-Za-z0-9_-]{2,1000}[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+){0,2})",
        check=is_jwt,
        evidence="decoded",
    ),
    Format(
        kind="secret.connection_string",
        regex=r"\b[a-z][a-z0-9+.-]{1,20}://[^\s:/@\"'<>]{0,64}:([^\s/@\"'<>]{1,128})@[A-Za-z0-9_.\[-]",
        check=is_url_password,
    ),
    Format(
        kind="secret.basic_credential",
        regex=r"(?i:authorization)" + _ASSIGN + r"(?i:basic)\s{1,3}([A-Za-z0-9+/]{8,512}={0,2})",
        check=is_basic_credential,
        evidence="decoded",
    ),
    Format(
        kind="secret.bearer_token",
        regex=r"\b(?i:bearer|authorization" + _ASSIGN + r"token)\s{1,3}[\"'`]?([A-Za-z0-9._~+/-]{16,1000}={0,2})",
        check=is_opaque,
        evidence="context",
        score=0.9,
    ),
    Format(
        kind="secret.password",
        regex=_HUMAN_CREDENTIAL + _OF_WHAT + _ASSIGN + r"([^\s\"'`,;]{6,128})",
        check=is_password,
        evidence="context",
        score=0.8,
    ),
    Format(
        kind="secret.generic",
        regex=_MACHINE_CREDENTIAL + _ASSIGN + r"([A-Za-z0-9_+/=~.-]{16,512})",
        check=is_opaque,
        evidence="context",
        score=0.7,
    ),
)
