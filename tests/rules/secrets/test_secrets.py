"""Secrets by kind, each with what looks almost like it. All values are made up and put together at run time, so that
no scanner takes this file for a leak."""

import base64
import json
import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.signal import EMPTY_SCAN
from gateway.domain.vocabulary import Placement, SignalType
from gateway.identity.key_format import new_key
from rules.expressions import MAX_MATCHES
from rules.secrets import SecretDetector
from rules.secrets.formats import FORMATS

DETECTOR = SecretDetector()
ALNUM = string.ascii_letters + string.digits
HEX = "0123456789abcdef"


def chars(alphabet: str, count: int, seed: int = 7) -> str:
    return "".join(random.Random(seed).choices(alphabet, k=count))


def b64url(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def found(text: str) -> list[tuple[str, str]]:
    (result,) = DETECTOR.scan([text])
    if not result.findings:
        assert result == EMPTY_SCAN
        return []
    assert result.values["secrets.kinds"] == {finding.kind for finding in result.findings}
    assert result.values["secrets.count"] == len(result.findings)
    return [(finding.kind, text[finding.start : finding.end]) for finding in result.findings]


GATEWAY_KEY = new_key(lambda n: bytes(random.Random(n).randbytes(n)))[1].reveal()
JWT = ".".join([b64url({"alg": "HS256", "typ": "JWT"}), b64url({"sub": "4711"}), chars(ALNUM, 43)])
BASIC = base64.b64encode(b"ana:" + b"Kw7-orchid-09").decode()

TOKENS = {
    "secret.gateway_key": GATEWAY_KEY,
    "secret.aws_access_key": "AK" + "IA" + chars("ABCDEFGHJKLMNPQRSTUVWXYZ234567", 16),
    "secret.github_token": "gh" + "p_" + chars(ALNUM, 36),
    "secret.gitlab_token": "gl" + "pat-" + chars(ALNUM, 20),
    "secret.slack_token": "xo" + "xb-" + chars(string.digits, 12) + "-" + chars(ALNUM, 24),
    "secret.stripe_key": "sk" + "_live_" + chars(ALNUM, 24),
    "secret.google_key": "AI" + "za" + chars(ALNUM, 35),
    "secret.anthropic_key": "sk" + "-ant-api03-" + chars(ALNUM, 60),
    "secret.openai_key": "sk" + "-proj-" + chars(ALNUM, 48),
    "secret.huggingface_token": "h" + "f_" + chars(string.ascii_letters, 34),
    "secret.npm_token": "np" + "m_" + chars(ALNUM, 36),
    "secret.pypi_token": "py" + "pi-AgEI" + chars(ALNUM, 80),
    "secret.sendgrid_key": "S" + "G." + chars(ALNUM, 22) + "." + chars(ALNUM, 43),
    "secret.vault_token": "hv" + "s." + chars(ALNUM, 30),
    "secret.databricks_token": "da" + "pi" + chars(HEX, 32),
    "secret.docker_token": "dckr" + "_pat_" + chars(ALNUM, 27),
    "secret.digitalocean_token": "do" + "p_v1_" + chars(HEX, 64),
    "secret.shopify_token": "sh" + "pat_" + chars(HEX, 32),
    "secret.telegram_token": chars("123456789", 9) + ":A" + "A" + chars(ALNUM, 33),
    "secret.jwt": JWT,
}


@pytest.mark.parametrize(("kind", "token"), TOKENS.items())
@pytest.mark.parametrize(
    "text", ["{}", "use {}, please", "token={}", '{{"key": "{}"}}', "\u00fcber \U0001f511 {}\nbye"]
)
def test_a_token_is_found_by_its_format(kind: str, token: str, text: str) -> None:
    assert found(text.format(token)) == [(kind, token)]


@pytest.mark.parametrize(("kind", "token"), TOKENS.items())
def test_part_of_a_longer_word_is_no_token(kind: str, token: str) -> None:
    assert kind not in dict(found(f"x{token}"))


AWS_SECRET = chars(ALNUM + "/+", 40)
ACCOUNT_KEY = chars(ALNUM + "/+", 86) + "=="
OPAQUE = chars(ALNUM, 32)
HEX_KEY = chars(HEX, 40)

IN_CONTEXT = [
    (f"aws_secret_access_key = {AWS_SECRET}", "secret.aws_secret_key", AWS_SECRET),
    (f"DefaultEndpointsProtocol=https;AccountKey={ACCOUNT_KEY};", "secret.azure_key", ACCOUNT_KEY),
    ("postgresql://app:" + "tulip-9-Row@db.internal:5432/core", "secret.connection_string", "tulip-9-Row"),
    ("https://ana:" + "tulip-9-Row@files.bank.test/x", "secret.connection_string", "tulip-9-Row"),
    ("redis://:" + "tulip-9-Row@10.0.0.7:6379/0", "secret.connection_string", "tulip-9-Row"),
    (f"Authorization: Basic {BASIC}", "secret.basic_credential", BASIC),
    (f"Authorization: Bearer {OPAQUE}", "secret.bearer_token", OPAQUE),
    (f"curl -H 'authorization: token {OPAQUE}'", "secret.bearer_token", OPAQUE),
    ("My password is " + "Tulip-9-row!", "secret.password", "Tulip-9-row!"),
    ("my password for online banking is " + "Tulip9row", "secret.password", "Tulip9row"),
    ("Mein Passwort lautet: " + "Tulpe#2031", "secret.password", "Tulpe#2031"),
    ("le mot de passe est " + "tulipe77", "secret.password", "tulipe77"),
    ("la contrase\u00f1a es " + "tulipan77", "secret.password", "tulipan77"),
    ("Server=db;User Id=app;Password=" + "tulip-9-Row;", "secret.password", "tulip-9-Row"),
    ('{"db_password": "' + 'qwErTy99x"}', "secret.password", "qwErTy99x"),
    (f"api_key = '{OPAQUE}'", "secret.generic", OPAQUE),
    (f"client secret: {HEX_KEY}", "secret.generic", HEX_KEY),
    (f"the access token is {OPAQUE}", "secret.generic", OPAQUE),
]


@pytest.mark.parametrize(("text", "kind", "secret"), IN_CONTEXT)
def test_a_secret_is_found_by_its_context(text: str, kind: str, secret: str) -> None:
    assert found(text) == [(kind, secret)]


def test_every_kind_has_a_positive_case() -> None:
    assert {form.kind for form in FORMATS} == TOKENS.keys() | {kind for _, kind, _ in IN_CONTEXT}


UUID = "3f2b8c1e-9d47-4a6b-8e21-5c7d90ab12ef"

HARMLESS = [
    "",
    "AKIA is how those ids begin",
    "AK" + "IAIOSFODNN7EXAMPLE",
    "AK" + "IA" + "A" * 16,
    "gh" + "p_" + "x" * 36,
    "sk-" + "your-api-key-goes-here-1",
    "sk-learn-and-other-packages-for-data",
    "sk-" + "x" * 48,
    f"commit {HEX_KEY} fixed it",
    f"sha256:{chars(HEX, 64)}",
    f"order number {chars(string.digits, 24)}",
    f"request id {UUID}",
    f"token: {UUID}",
    f"![x](data:image/png;base64,{chars(ALNUM + '/+', 800)})",
    "api_key = <your api key here>",
    "api_key = YOUR_API_KEY_GOES_HERE_12345",
    "api_key = os.environ['SERVICE_API_KEY_2']",
    "token = ${SERVICE_TOKEN_PRODUCTION_1}",
    "secret: projects/bank-prod-1/secrets/mail",
    "eyJhbGciOi and so on",
    ".".join(["eyJ" + chars(string.ascii_letters, 20), chars(ALNUM, 30), chars(ALNUM, 43)]),
    "https://docs.bank.test/a:b@c",
    "postgres://user:" + "password@localhost/db",
    "postgres://user:" + "<password>@localhost/db",
    "postgres://user:" + "${DB_PASSWORD}@localhost/db",
    "mailto:ana@bank.test, http://localhost:8080/@me",
    "Authorization: Bearer <token>",
    "Authorization: Basic YWJj",
    "bearer bonds of 2031 and their responsibilities",
    "The password is required.",
    "Your password is case-sensitive and/or too short",
    "Password: must contain 8 characters",
    "the password is incorrect!",
    "Passwort ist falsch",
    "le mot de passe est obligatoire",
    "password = getpass.getpass()",
    "password: ********",
    "password: xxxxxxxx",
    'password="changeme123"',
    "password: None",
    "The passcode is Required",
    "token: com.bank.payments.CardTokenService",
    "-----BEGIN PUBLIC KEY-----\n" + chars(ALNUM, 200),
    "A key begins with -----BEGIN PRIVATE KEY----- and ends with -----END PRIVATE KEY-----.",
    "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
    "The secret of good service is patience, the token of it a smile.",
]


@pytest.mark.parametrize("text", HARMLESS)
def test_what_only_looks_like_a_secret_is_none(text: str) -> None:
    assert found(text) == []


def pem(kind: str = "RSA ", *, end: bool = True, newline: str = "\n") -> str:
    lines = [f"-----BEGIN {kind}PRIVATE KEY-----", *(chars(ALNUM + "+/", 64, seed) for seed in range(6))]
    return newline.join(lines + ([f"-----END {kind}PRIVATE KEY-----"] if end else []))


@pytest.mark.parametrize(
    "block",
    [
        pem(),
        pem("OPENSSH "),
        pem(""),
        pem("ENCRYPTED ", newline="\r\n"),
        pem(newline="\\n"),
        pem(end=False),
        pem().replace("KEY-----\n", "KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0A\n\n", 1),
    ],
)
def test_a_private_key_is_found_as_a_whole_block(block: str) -> None:
    assert found(f"here:\n{block}") == [("secret.private_key", block)]


def test_two_private_keys_are_two_findings() -> None:
    assert found(f"{pem()}\n\n{pem('EC ')}\n") == [("secret.private_key", pem()), ("secret.private_key", pem("EC "))]


def test_a_secret_in_a_private_key_is_not_counted_twice() -> None:
    token = TOKENS["secret.github_token"]
    block = pem().replace("-----END", f"{token}\n-----END")
    assert found(block) == [("secret.private_key", block)]


def test_hidden_characters_do_not_hide_a_secret() -> None:
    token = TOKENS["secret.stripe_key"]
    split = token[:12] + "\u200b" + token[12:]
    assert ("secret.stripe_key", split) in found(f"key {split} end")


def test_declares_kinds_and_count() -> None:
    assert (DETECTOR.name, DETECTOR.placement) == ("secrets", Placement.INLINE)
    assert DETECTOR.signals == {"secrets.kinds": SignalType.KINDS, "secrets.count": SignalType.COUNT}
    assert SecretDetector().version == DETECTOR.version


def test_several_secrets_are_counted() -> None:
    text = f"{TOKENS['secret.npm_token']} {TOKENS['secret.npm_token']} {JWT}"
    (result,) = DETECTOR.scan([text])
    assert result.values == {"secrets.kinds": {"secret.npm_token", "secret.jwt"}, "secrets.count": 3}


def test_endless_repetition_is_covered_to_the_end() -> None:
    text = f"{TOKENS['secret.npm_token']} " * (MAX_MATCHES + 20)
    (result,) = DETECTOR.scan([text])
    assert result.findings[-1].evidence == "overflow"
    assert max(finding.end for finding in result.findings) == len(text)


@given(
    st.sampled_from(sorted(TOKENS)),
    st.text(" \n\u00e4\U0001f511.,;:()\"'", max_size=12),
    st.text(" \n,;)\u00e4", max_size=9),
)
def test_a_token_is_found_between_any_signs(kind: str, before: str, after: str) -> None:
    token = TOKENS[kind]
    text = f"{before} {token} {after}"
    (result,) = DETECTOR.scan([text])
    assert any(f.kind == kind and text[f.start : f.end] == token for f in result.findings)
    assert all(0 <= f.start < f.end <= len(text) for f in result.findings)
