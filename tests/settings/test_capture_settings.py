"""What is kept, for how long, and under which key: bounds and cross checks of the settings."""

from pathlib import Path

import pytest

from gateway.domain.errors import FaultsFound
from gateway.settings import CaptureLevel, Settings, load_settings


def load(folder: Path, text: str) -> Settings:
    file = folder / "gateway.yaml"
    file.write_text(text)
    return load_settings(file, {})


def test_an_app_names_its_level_and_class(tmp_path: Path) -> None:
    settings = load(
        tmp_path,
        """
apps:
  loans: {capture: encrypted_body, retention: long}
  chat: {capture: metadata}
audit:
  retention:
    long: {days: 3650}
""",
    )
    assert settings.app("loans").capture is CaptureLevel.ENCRYPTED_BODY
    assert settings.app("chat").capture is CaptureLevel.METADATA
    assert settings.app("other").capture is CaptureLevel.SIGNALS
    assert [settings.retention(app).days for app in ("loans", "chat", "other")] == [3650, 365, 365]


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("audit:\n  retention:\n    short: {days: 183}\n", "", "184"),
        ("apps:\n  loans: {retention: lnog}\naudit:\n  retention:\n    long: {days: 400}\n", "SET019", "long"),
        ("audit:\n  bodies: {master_key: 00112233}\n", "SET016", "env:NAME"),
        ("audit:\n  bodies: {previous_keys: [secret]}\n", "SET016", "env:NAME"),
        ("audit:\n  bodies: {vault_url: 'ftp://vault'}\n", "SET011", "http"),
        ("audit:\n  bodies: {vault_url: 'https://vault.example:8200'}\n", "SET020", "vault_token"),
    ],
)
def test_what_cannot_be_is_a_fault_with_its_remedy(tmp_path: Path, text: str, code: str, words: str) -> None:
    with pytest.raises(FaultsFound) as caught:
        load(tmp_path, text)
    assert any(code in fault.code and words in fault.message for fault in caught.value.faults), caught.value.faults
    assert "00112233" not in str(caught.value)
