import pytest

from gateway.domain.errors import ConfigurationError
from gateway.domain.text import Secret
from gateway.settings import LimitSettings, resolve_redis_url, resolve_secret


def test_from_the_environment():
    assert resolve_secret("env:KEY", {"KEY": " value\n"}) == Secret("value")


def test_from_a_file(tmp_path):
    (tmp_path / "key").write_text("value\n")
    assert resolve_secret(f"file:{tmp_path / 'key'}", {}) == Secret("value")


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("env:MISSING", "environment variable `MISSING` is empty or missing"),
        ("env:BLANK", "environment variable `BLANK` is empty or missing"),
        ("env:", "must be written as"),
        ("file:", "must be written as"),
        ("sk-CANARY", "must be written as"),
        ("file:/nowhere/at/all", "cannot be read: FileNotFoundError"),
    ],
)
def test_what_cannot_be_resolved(reference, words):
    with pytest.raises(ConfigurationError, match=words) as caught:
        resolve_secret(reference, {"BLANK": "  "})
    assert "CANARY" not in str(caught.value)


def test_a_file_of_other_bytes(tmp_path):
    (tmp_path / "key").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        resolve_secret(f"file:{tmp_path / 'key'}", {})


def test_redis_address_is_plain_or_a_reference():
    assert resolve_redis_url(LimitSettings(redis_url="redis://h"), {}) == Secret("redis://h")
    assert resolve_redis_url(LimitSettings(redis_url="env:R"), {"R": "redis://:p@h"}) == Secret("redis://:p@h")
