from pathlib import Path

import pytest

from gateway.domain.errors import FaultsFound
from gateway.domain.vocabulary import Effect
from gateway.settings import AppSettings, BlockMode, ClientMode, EscalationSettings, load_settings

MAIL = "name: m, to: [r@bank.example], sender: g@bank.example, host: smtp.bank.example"


def loaded(folder: Path, text: str):
    file = folder / "gateway.yaml"
    file.write_text(text)
    return load_settings(file, {})


@pytest.mark.parametrize(
    ("text", "code", "word"),
    [
        ("cases: {store: postgres}", "SET021", "postgres_url"),
        ("cases: {postgres_url: 'env:URL'}", "SET021", "store: postgres"),
        ("cases: {store: postgres, postgres_url: 'postgresql://u:p@h/db'}", "SET016", "env:NAME"),
        ("cases: {slack: [{name: c, url: 'https://hooks.example/x'}]}", "SET016", "env:NAME"),
        (f"cases: {{mail: [{{{MAIL}, username: u, password: hush}}]}}", "SET016", "env:NAME"),
        (f"cases: {{mail: [{{{MAIL}, username: u}}]}}", "SET022", "go together"),
        (f"cases: {{mail: [{{{MAIL}, username: u, password: 'env:P', security: none}}]}}", "SET022", "in the clear"),
        (f"cases: {{mail: [{{{MAIL}}}], slack: [{{name: m, url: 'env:U'}}]}}", "SET010", "named"),
        ("cases: {console_url: 'javascript:1'}", "SET011", "console_url"),
        ("apps: {a: {escalation: {client: forever}}}", "", "forever"),
        ("cases: {quality: {blind_share: 1.5}}", "", "1"),
    ],
)
def test_what_cannot_be_is_a_fault_with_its_remedy(tmp_path: Path, text: str, code: str, word: str) -> None:
    with pytest.raises(FaultsFound) as raised:
        loaded(tmp_path, text)
    (fault,) = raised.value.faults
    assert (fault.code.startswith(code), word in str(fault)) == (True, True), str(fault)
    assert "hush" not in str(fault)


def test_all_of_it_together_is_taken(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        f"""
cases:
  store: postgres
  postgres_url: env:CASES_URL
  console_url: https://gateway.bank.example/console
  teams: [{{name: credit, groups: [credit-policy]}}]
  queues: {{q: {{staffed_hours_per_day: 16}}}}
  quality: {{blind_share: 0.1}}
  slack: [{{name: chat, url: file:/run/secrets/chat}}]
  mail: [{{{MAIL}, username: u, password: env:SMTP, queues: [q]}}]
apps: {{loans: {{escalation: {{client: wait, wait_s: 300}}}}}}
""",
    )
    assert settings.app("loans").escalation.client is ClientMode.WAIT
    assert settings.cases.mail[0].security == "starttls"


@pytest.mark.parametrize(
    ("block", "client", "error"),
    [
        (BlockMode.REFUSAL, ClientMode.BLOCK_MODE, False),
        (BlockMode.ERROR, ClientMode.BLOCK_MODE, True),
        (BlockMode.ERROR, ClientMode.HOLD, False),
        (BlockMode.REFUSAL, ClientMode.ERROR, True),
        (BlockMode.ERROR, ClientMode.WAIT, False),
    ],
)
def test_how_an_escalation_leaves_does_not_change_how_a_refusal_does(block, client, error) -> None:
    app = AppSettings(block_mode=block, escalation=EscalationSettings(client=client))
    assert app.is_error(Effect.ESCALATE) is error
    assert app.is_error(Effect.REFUSE) is (block is BlockMode.ERROR)
