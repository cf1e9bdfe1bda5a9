"""File and environment -> one `Settings`, or all faults together."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, get_type_hints

import msgspec

from gateway.domain.errors import Fault, FaultsFound
from gateway.settings.checks import cross_faults, redis_faults
from gateway.settings.model import Settings
from gateway.strict_yaml import Document, Scalar, decode, load_document, suggestion

DEFAULT_FILE: Final = Path("gateway.yaml")
_ENV_PREFIX: Final = "GATEWAY_"
_ENV_TEST_PREFIX: Final = "GATEWAY_TEST_"  # names servers to the tests; means nothing to the gateway

ENVIRONMENT: Final[Mapping[str, tuple[str, ...]]] = {
    "GATEWAY_DATA_DIR": ("data_dir",),
    "GATEWAY_HOST": ("server", "host"),
    "GATEWAY_PORT": ("server", "port"),
    "GATEWAY_WORKERS": ("server", "workers"),
    "GATEWAY_LOG_LEVEL": ("log_level",),
    "GATEWAY_REDIS_URL": ("limits", "redis_url"),
    "GATEWAY_RETRIEVAL_STORE": ("retrieval", "store"),
    "GATEWAY_WEAVIATE_HOST": ("retrieval", "weaviate_host"),
    "GATEWAY_WEAVIATE_HTTP_PORT": ("retrieval", "weaviate_http_port"),
    "GATEWAY_WEAVIATE_GRPC_PORT": ("retrieval", "weaviate_grpc_port"),
    "GATEWAY_LOG_NAME": ("audit", "log_name"),
}
"""Variables that override a key of the file: what differs between two nodes with the same file."""

CONFIG_VARIABLE: Final = "GATEWAY_CONFIG"
"""Names the file when the command line does not."""


def load_settings(file: Path | None, environ: Mapping[str, str]) -> Settings:
    """Settings from `file`, else from the file that `GATEWAY_CONFIG` names, else from `gateway.yaml` where there is
    one, else the defaults; then the environment's overrides. Raises `FaultsFound` with all faults together."""
    faults: list[Fault] = []
    path = file or _configured_file(environ)
    document = None if path is None else _read(path, faults)
    settings = Settings() if document is None else document.value
    if document is not None:
        faults.extend(cross_faults(document))
    settings = _override(settings, environ, faults)
    faults.extend(_unknown_variables(settings, environ))
    if faults:
        raise FaultsFound(faults)
    return settings


def _configured_file(environ: Mapping[str, str]) -> Path | None:
    if CONFIG_VARIABLE in environ:
        return Path(environ[CONFIG_VARIABLE])
    return DEFAULT_FILE if DEFAULT_FILE.is_file() else None


def _read(path: Path, faults: list[Fault]) -> Document[Settings] | None:
    try:
        text = path.read_text("utf-8")
    except UnicodeDecodeError:
        message = "the file is not utf-8 text: save it as utf-8"
    except OSError as error:
        message = f"the file cannot be read: {type(error).__name__}: check the path and its permissions"
    else:
        return load_document(text, str(path), Settings, faults)
    faults.append(Fault(file=str(path), line=0, column=0, code="SET001", message=message))
    return None


def _override(settings: Settings, environ: Mapping[str, str], faults: list[Fault]) -> Settings:
    for name, path in ENVIRONMENT.items():
        if name not in environ:
            continue
        node = Scalar(f"${name}", 0, 0, environ[name], plain=True)
        owner: Any = settings if len(path) == 1 else getattr(settings, path[0])
        value = decode(node, get_type_hints(type(owner), include_extras=True)[path[-1]], faults)
        if value is None:
            continue
        changed = msgspec.structs.replace(owner, **{path[-1]: value})
        settings = changed if len(path) == 1 else msgspec.structs.replace(settings, **{path[0]: changed})
        if path == ("limits", "redis_url"):
            faults.extend(redis_faults(node, str(value)))
    return settings


def _unknown_variables(settings: Settings, environ: Mapping[str, str]) -> Iterator[Fault]:
    known = {*ENVIRONMENT, CONFIG_VARIABLE}
    secrets = {reference.removeprefix("env:") for reference in _references(settings) if reference.startswith("env:")}
    for name in environ:
        if not name.startswith(_ENV_PREFIX) or name.startswith(_ENV_TEST_PREFIX) or name in known | secrets:
            continue
        yield Fault(
            file=f"${name}", line=0, column=0, code="SET002", message=f"unknown variable: {suggestion(name, known)}"
        )


def _references(settings: Settings) -> Iterator[str]:
    yield from (model.api_key for model in settings.models)
    yield from (model.api_key for model in settings.embeddings)
    yield settings.retrieval.weaviate_api_key
    yield settings.retrieval.weaviate_oidc_secret
    yield settings.retrieval.reranker.api_key
    yield from (embedder.api_key for embedder in settings.retrieval.embedders)
    yield settings.limits.redis_url
    yield from (webhook.secret for webhook in settings.cases.webhooks)
    yield from (channel.url for channel in settings.cases.slack)
    yield from (mail.password for mail in settings.cases.mail)
    yield settings.cases.postgres_url
    yield settings.console.oidc.client_secret
    yield settings.audit.bodies.master_key
    yield from settings.audit.bodies.previous_keys
    yield settings.audit.bodies.vault_token
