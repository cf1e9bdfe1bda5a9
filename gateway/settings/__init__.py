"""One frozen `Settings`, built once from `gateway.yaml` and the environment, and passed explicitly.

No other package reads configuration from files or the environment.
"""

from gateway.settings.capture import BodySettings, CaptureLevel, RetentionSettings
from gateway.settings.cases import (
    CaseSettings,
    ClientMode,
    EscalationSettings,
    MailSettings,
    QualitySettings,
    QueueSettings,
    SlackSettings,
    TeamSettings,
    WebhookSettings,
)
from gateway.settings.console import ConsoleSettings, GrantSettings, OidcSettings
from gateway.settings.load import CONFIG_VARIABLE, ENVIRONMENT, load_settings
from gateway.settings.metrics import MetricsSettings
from gateway.settings.model import (
    AppSettings,
    AuditSettings,
    BlockMode,
    EmbeddingModelSettings,
    InspectionSettings,
    LimitSettings,
    ModelSettings,
    RetrievalSettings,
    ServerSettings,
    Settings,
)
from gateway.settings.policy import PolicySettings, SignatureSettings
from gateway.settings.reference import settings_reference
from gateway.settings.retrieval import IngestSettings
from gateway.settings.schedules import ScheduleSettings
from gateway.settings.secret import optional_secret, resolve_redis_url, resolve_secret
from gateway.settings.trail import SinkSettings, TrailSettings

__all__ = [
    "CONFIG_VARIABLE",
    "ENVIRONMENT",
    "AppSettings",
    "AuditSettings",
    "BlockMode",
    "BodySettings",
    "CaptureLevel",
    "CaseSettings",
    "ClientMode",
    "ConsoleSettings",
    "EmbeddingModelSettings",
    "EscalationSettings",
    "GrantSettings",
    "IngestSettings",
    "InspectionSettings",
    "LimitSettings",
    "MailSettings",
    "MetricsSettings",
    "ModelSettings",
    "OidcSettings",
    "PolicySettings",
    "QualitySettings",
    "QueueSettings",
    "RetentionSettings",
    "RetrievalSettings",
    "ScheduleSettings",
    "ServerSettings",
    "Settings",
    "SignatureSettings",
    "SinkSettings",
    "SlackSettings",
    "TeamSettings",
    "TrailSettings",
    "WebhookSettings",
    "load_settings",
    "optional_secret",
    "resolve_redis_url",
    "resolve_secret",
    "settings_reference",
]
