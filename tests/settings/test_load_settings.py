from pathlib import Path

import pytest

from gateway.domain.errors import FaultsFound
from gateway.settings import ENVIRONMENT, BlockMode, ModelSettings, Settings, SignatureSettings, load_settings

OPENAI = """
models:
  - name: {name}
    provider: openai
    base_url: https://models.example/v1
"""


def load(tmp_path, text, environ=None):
    file = tmp_path / "gateway.yaml"
    file.write_text(text)
    return load_settings(file, environ or {})


def faults(tmp_path, text, environ=None):
    """Line, code and message of each fault."""
    with pytest.raises(FaultsFound) as caught:
        load(tmp_path, text, environ)
    return [(fault.line, fault.code, fault.message) for fault in caught.value.faults]


def test_defaults_without_file_and_environment(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert load_settings(None, {}) == Settings()
    assert load_settings(None, {"PATH": "/bin", "HOME": "/"}) == Settings()


def test_a_file_sets_what_it_names(tmp_path):
    settings = load(
        tmp_path,
        """
data_dir: /srv/gateway
policies: [policies, more/own.yaml]
server: {port: 9000, workers: 2}
models:
  - name: extractive
    provider: extractive
  - name: small
    provider: openai
    base_url: http://127.0.0.1:11434/v1
    api_key: env:SMALL_KEY
    idle_timeout_s: 5
    fallbacks: [extractive]
apps:
  helpdesk: {block_mode: error, retrieval: false}
retrieval: {models: [extractive]}
log_level: debug
""",
    )
    assert settings.data_dir == Path("/srv/gateway")
    assert settings.policies == (Path("policies"), Path("more/own.yaml"))
    assert (settings.server.port, settings.server.workers, settings.server.host) == (9000, 2, "127.0.0.1")
    assert settings.models[1] == ModelSettings(
        name="small",
        provider="openai",
        base_url="http://127.0.0.1:11434/v1",
        api_key="env:SMALL_KEY",
        idle_timeout_s=5.0,
        fallbacks=("extractive",),
    )
    assert settings.app("helpdesk").block_mode is BlockMode.ERROR
    assert settings.app("other").block_mode is BlockMode.REFUSAL
    assert settings.retrieval.models == ("extractive",)
    assert settings.log_level == "debug"


def test_file_named_by_the_environment_and_found_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("gateway.yaml").write_text("log_level: error\n")
    Path("other.yaml").write_text("log_level: warning\n")
    assert load_settings(None, {}).log_level == "error"
    assert load_settings(None, {"GATEWAY_CONFIG": "other.yaml"}).log_level == "warning"
    assert load_settings(Path("gateway.yaml"), {"GATEWAY_CONFIG": "other.yaml"}).log_level == "error"


def test_environment_overrides_the_file(tmp_path):
    environ = {
        "GATEWAY_DATA_DIR": "/data",
        "GATEWAY_HOST": "0.0.0.0",
        "GATEWAY_PORT": "80",
        "GATEWAY_WORKERS": "3",
        "GATEWAY_LOG_LEVEL": "error",
        "GATEWAY_REDIS_URL": "redis://cache:6379/0",
        "GATEWAY_RETRIEVAL_STORE": "weaviate",
        "GATEWAY_WEAVIATE_HOST": "weaviate",
        "GATEWAY_WEAVIATE_HTTP_PORT": "1",
        "GATEWAY_WEAVIATE_GRPC_PORT": "2",
        "GATEWAY_LOG_NAME": "gateway/bank/node-7",
    }
    assert set(environ) == set(ENVIRONMENT), "each variable is tested"
    settings = load(tmp_path, "server: {port: 9000, max_depth: 8}\nlog_level: debug\n", environ)
    assert settings.data_dir == Path("/data")
    assert (settings.server.host, settings.server.port, settings.server.workers) == ("0.0.0.0", 80, 3)
    assert settings.server.max_depth == 8
    assert settings.log_level == "error"
    assert settings.limits.redis_url == "redis://cache:6379/0"
    assert (settings.retrieval.store, settings.retrieval.weaviate_host) == ("weaviate", "weaviate")
    assert (settings.retrieval.weaviate_http_port, settings.retrieval.weaviate_grpc_port) == (1, 2)
    assert settings.audit.log_name == "gateway/bank/node-7"


def test_all_faults_are_reported_together_with_their_places(tmp_path):
    found = faults(
        tmp_path,
        """
server:
  prot: 80
  port: 70000
models:
  - name: a
    provider: openai
  - name: a
    provider: extractive
    fallbacks: [b]
  - name: c
    provider: opnai
""",
        {"GATEWAY_PORT": "many", "GATEWAY_HOTS": "x"},
    )
    assert [(line, code) for line, code, _ in found] == [
        (0, "SET002"),
        (0, "YAML021"),
        (3, "YAML020"),
        (4, "YAML024"),
        (6, "SET011"),
        (8, "SET010"),
        (10, "SET012"),
        (12, "YAML023"),
    ]
    assert found[0][2] == "unknown variable: did you mean `GATEWAY_HOST`?"
    assert all("\n" not in message for _, _, message in found)


CROSS = [
    ("no address", "models: [{name: a, provider: openai}]", "SET011", "`base_url`"),
    ("no scheme", "models: [{name: a, provider: openai, base_url: models.example/v1}]", "SET011", "`https://`"),
    ("other scheme", "models: [{name: a, provider: openai, base_url: 'file:///etc/passwd'}]", "SET011", "`https://`"),
    ("a query", "models: [{name: a, provider: openai, base_url: 'https://h/v1?k=v'}]", "SET011", "nothing else"),
    ("a bad port", "models: [{name: a, provider: openai, base_url: 'https://h:99999/v1'}]", "SET011", "nothing else"),
    ("embeddings too", "embeddings: [{name: e, provider: openai}]", "SET011", "`base_url`"),
    ("the same embedding twice", "embeddings: [{name: e}, {name: e}]", "SET010", "rename"),
    (
        "an address for the built-in",
        "models: [{name: a, provider: extractive, base_url: 'https://h'}]",
        "SET014",
        "remove",
    ),
    ("a fallback beside nothing", "retrieval: {fallback_store: embedded}", "SET024", "write `store: weaviate`"),
    (
        "two ways into Weaviate",
        "retrieval: {weaviate_api_key: 'env:A', weaviate_oidc_secret: 'env:B'}",
        "SET026",
        "remove one of the two",
    ),
    ("a reranker without address", "retrieval: {reranker: {kind: tei}}", "SET027", "set `kind` and `url` together"),
    ("an address without a reranker", "retrieval: {reranker: {url: 'http://h'}}", "SET027", "set `kind` and `url`"),
    ("a reranker at no address", "retrieval: {reranker: {kind: tei, url: 'h'}}", "SET011", "must be `http://`"),
    (
        "an embedder called like the packaged one",
        "retrieval: {embedders: [{name: builtin, base_url: 'http://h', model: m, dimensions: 3}]}",
        "SET010",
        "rename one of the two",
    ),
    (
        "an embedder at no address",
        "retrieval: {embedders: [{name: a, base_url: 'ftp://h', model: m, dimensions: 3}]}",
        "SET011",
        "must be `http://`",
    ),
    ("too much overlap", "ingest: {chunking: {target_chars: 200}}", "YAML024", "less than half"),
    ("a key for the built-in", "embeddings: [{name: a, api_key: 'env:X'}]", "SET014", "remove"),
    (
        "unknown fallback",
        "models: [{name: near, provider: extractive, fallbacks: [naer]}]",
        "SET012",
        "did you mean `near`?",
    ),
    ("itself", "models: [{name: a, provider: extractive, fallbacks: [a]}]", "SET012", "leads back"),
    ("unknown retrieval model", "retrieval: {models: [extractiv]}", "SET013", "did you mean `extractive`?"),
    ("redis scheme", "limits: {redis_url: 'http://x'}", "SET015", "`redis://`"),
    (
        "webhook with a literal secret",
        "cases: {webhooks: [{name: a, url: 'http://hook.example/x', secret: hunter2}]}",
        "SET016",
        "env:NAME",
    ),
    (
        "webhook with a password in its address",
        "cases: {webhooks: [{name: a, url: 'http://u:p@hook.example/x', secret: 'env:S'}]}",
        "SET011",
        "nothing else",
    ),
    (
        "two webhooks of one name",
        "cases: {webhooks: [{name: a, url: 'http://h', secret: 'env:S'}, {name: a, url: 'http://h', secret: 'env:S'}]}",
        "SET010",
        "rename one",
    ),
    ("zero timeout", "models: [{name: a, provider: extractive, total_timeout_s: 0}]", "YAML024", "more than 0"),
    ("negative timeout", "models: [{name: a, provider: extractive, connect_timeout_s: -1}]", "YAML024", "more than 0"),
    ("too many retries", "models: [{name: a, provider: extractive, retries: 11}]", "YAML024", "at most 10"),
    ("unknown store", "retrieval: {store: weviate}", "YAML023", "did you mean `weaviate`?"),
]


@pytest.mark.parametrize(("text", "code", "words"), [case[1:] for case in CROSS], ids=[case[0] for case in CROSS])
def test_fault(tmp_path, text, code, words):
    ((_, found, message),) = faults(tmp_path, text)
    assert found == code
    assert words in message


def test_fallbacks_that_lead_back_are_found_at_each_step(tmp_path):
    text = "models:\n" + "".join(
        f"  - {{name: {name}, provider: extractive, fallbacks: [{other}]}}\n"
        for name, other in ("ab", "bc", "ca", "da")
    )
    assert [(line, code) for line, code, _ in faults(tmp_path, text)] == [(2, "SET012"), (3, "SET012"), (4, "SET012")]


LITERALS = [
    "models: [{name: a, provider: openai, base_url: 'https://h/v1', api_key: sk-CANARY}]",
    "models: [{name: a, provider: openai, base_url: 'https://u:CANARY@h/v1'}]",
    "embeddings: [{name: a, provider: openai, base_url: 'https://h/v1', api_key: CANARY}]",
    "retrieval: {weaviate_api_key: CANARY}",
    "limits: {redis_url: 'redis://:CANARY@h'}",
    "models: [{name: a, provider: openai, base_url: 'https://h/v1', api_key: 'env:CANARY with space'}]",
]


@pytest.mark.parametrize("text", LITERALS)
def test_a_secret_in_the_file_is_refused_and_not_shown(tmp_path, text):
    ((_, code, message),) = faults(tmp_path, text)
    assert code in {"SET016", "SET011"}
    assert "CANARY" not in message


def test_a_secret_in_the_environments_redis_address_is_refused(tmp_path):
    ((_, code, message),) = faults(tmp_path, "log_level: info", {"GATEWAY_REDIS_URL": "redis://:CANARY@h"})
    assert code == "SET016"
    assert "CANARY" not in message


def test_variables_that_hold_secrets_or_serve_tests_are_known(tmp_path):
    text = OPENAI.format(name="a") + "    api_key: env:GATEWAY_MODEL_KEY\n"
    environ = {"GATEWAY_MODEL_KEY": "x", "GATEWAY_TEST_REDIS": "y"}
    assert load(tmp_path, text, environ).models[0].api_key == "env:GATEWAY_MODEL_KEY"
    ((_, code, _),) = faults(tmp_path, "log_level: info", {"GATEWAY_MODEL_KEY": "x"})
    assert code == "SET002"


@pytest.mark.parametrize("text", ["", "- a list", "just text", "{unclosed", "a: &x 1"])
def test_text_that_is_no_settings(tmp_path, text):
    assert faults(tmp_path, text)


def test_files_that_cannot_be_read(tmp_path):
    for file in (tmp_path / "missing.yaml", tmp_path):
        with pytest.raises(FaultsFound) as caught:
            load_settings(file, {})
        assert [fault.code for fault in caught.value.faults] == ["SET001"]
    (tmp_path / "latin.yaml").write_bytes(b"log_level: \xff\n")
    with pytest.raises(FaultsFound, match="save it as utf-8"):
        load_settings(tmp_path / "latin.yaml", {})


def test_how_policies_come_into_force(tmp_path):
    settings = load(
        tmp_path,
        """
policy:
  reload_s: 0
  selftest: conversations
  candidate: [next]
  require_signatures: {keys: ["user:ana=ana.pub"], approvals: 1, manifest: signed.json}
apps:
  mild: {enforce_level: 1, observe_level: 3}
metrics: {access: loopback}
""",
    )
    assert settings.policy.candidate == (Path("next"),)
    assert settings.policy.require_signatures == SignatureSettings(
        keys=("user:ana=ana.pub",), approvals=1, manifest=Path("signed.json")
    )
    assert (settings.app("mild").enforce_level, settings.app("mild").observe_level) == (1, 3)
    assert settings.metrics.access == "loopback"
    assert Settings().policy.require_signatures is None


def test_signatures_that_are_required_need_keys_and_levels_an_order(tmp_path):
    assert faults(tmp_path, "policy: {require_signatures: {approvals: 2}}") == [
        (1, "YAML022", "key `keys` is missing: add it")
    ]
    assert [code for _, code, _ in faults(tmp_path, "policy: {require_signatures: {keys: []}}")] == ["YAML024"]
    assert faults(tmp_path, "apps:\n  mild: {observe_level: 3}") == [
        (
            2,
            "SET018",
            "`observe_level: 3` is below `enforce_level: 4` of app `mild`: what is enforced is observed, raise it",
        )
    ]
