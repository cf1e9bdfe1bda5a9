"""Checks over several keys of the settings. A fault never shows a value that may be a secret."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

from gateway.domain.errors import Fault
from gateway.settings.cases import MailSettings, SlackSettings, WebhookSettings
from gateway.settings.model import AnyModel, ModelSettings, Settings
from gateway.settings.schedules import schedule_faults
from gateway.settings.secret import is_reference
from gateway.strict_yaml import Document, Node, quoted, suggestion


def cross_faults(document: Document[Settings]) -> Iterator[Fault]:
    settings = document.value
    yield from _repeated_names(document, settings.models)
    yield from _repeated_names(document, settings.embeddings)
    models: tuple[AnyModel, ...] = (*settings.models, *settings.embeddings)
    for model in models:
        yield from _provider_faults(document, model)
    yield from _fallback_faults(document)
    retrieval = settings.retrieval
    yield from _retrieval_faults(document)
    yield from _case_faults(document)
    yield from _console_faults(document)
    yield from _level_faults(document)
    yield from _body_faults(document)
    yield from _sink_faults(document)
    yield from schedule_faults(document, settings.schedules)
    names = {model.name for model in settings.models}
    for index, name in enumerate(retrieval.models):
        if name != "*" and name not in names:
            node = document.node(retrieval, "models", index)
            yield node.fault("SET013", f"no model is named {quoted(name)}: {suggestion(name, names)}")
    yield from redis_faults(document.node(settings.limits, "redis_url"), settings.limits.redis_url)


def _retrieval_faults(document: Document[Settings]) -> Iterator[Fault]:
    retrieval = document.value.retrieval
    for key in ("weaviate_api_key", "weaviate_oidc_secret"):
        value = getattr(retrieval, key)
        if value and not is_reference(value):
            yield _literal_secret(document.node(retrieval, key))
    if retrieval.weaviate_api_key and retrieval.weaviate_oidc_secret:
        yield document.node(retrieval, "weaviate_oidc_secret").fault(
            "SET026", "Weaviate takes an API key or a client of OpenID Connect: remove one of the two"
        )
    if retrieval.fallback_store != "off" and retrieval.store != "weaviate":
        yield document.node(retrieval, "fallback_store").fault(
            "SET024", "a fallback stands beside Weaviate only: write `store: weaviate`, or remove `fallback_store`"
        )
    yield from _reranker_faults(document)
    seen = Counter({"builtin": 1})
    for embedder in retrieval.embedders:
        seen[embedder.name] += 1
        if seen[embedder.name] == 2:
            yield document.node(embedder, "name").fault(
                "SET010", f"a second embedder is named {quoted(embedder.name)}: rename one of the two"
            )
        if embedder.api_key and not is_reference(embedder.api_key):
            yield _literal_secret(document.node(embedder, "api_key"))
        if not _is_plain_address(embedder.base_url):
            yield document.node(embedder, "base_url").fault(
                "SET011", "`base_url` must be `http://` or `https://`, a host and a path, and nothing else"
            )


def _reranker_faults(document: Document[Settings]) -> Iterator[Fault]:
    reranker = document.value.retrieval.reranker
    is_server = reranker.kind in {"cohere", "tei"}
    if is_server != bool(reranker.url):
        yield document.node(reranker, "url").fault(
            "SET027", "a reranker on a server needs its `url`, and no other has one: set `kind` and `url` together"
        )
    elif is_server and not _is_plain_address(reranker.url):
        yield document.node(reranker, "url").fault(
            "SET011", "`url` must be `http://` or `https://`, a host and a path, and nothing else"
        )
    if reranker.api_key and not is_reference(reranker.api_key):
        yield _literal_secret(document.node(reranker, "api_key"))


def _repeated_names(document: Document[Settings], models: tuple[AnyModel, ...]) -> Iterator[Fault]:
    seen: Counter[str] = Counter()
    for model in models:
        seen[model.name] += 1
        if seen[model.name] == 2:
            yield document.node(model, "name").fault(
                "SET010", f"a second model is named {quoted(model.name)}: rename one of the two"
            )


def _provider_faults(document: Document[Settings], model: AnyModel) -> Iterator[Fault]:
    if model.api_key and not is_reference(model.api_key):
        yield _literal_secret(document.node(model, "api_key"))
    if model.provider == "openai":
        yield from _url_faults(document.node(model, "base_url"), model)
    else:
        for key in ("base_url", "api_key", "upstream_model"):
            if getattr(model, key):
                yield document.node(model, key).fault(
                    "SET014", f"provider `{model.provider}` has no `{key}`: remove it, or write `provider: openai`"
                )


def _url_faults(node: Node, model: AnyModel) -> Iterator[Fault]:
    if not model.base_url:
        yield node.fault("SET011", f"model {quoted(model.name)} has no `base_url`: add it, `https://host/v1`")
        return
    if not _is_plain_address(model.base_url):  # the address is not shown: it may hold a password
        yield node.fault("SET011", "`base_url` must be `http://` or `https://`, a host and a path, and nothing else")


def _is_plain_address(text: str) -> bool:
    try:
        url = urlsplit(text)
        sound = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:
        return False
    return sound and not (url.username or url.password or url.query or url.fragment)


def _case_faults(document: Document[Settings]) -> Iterator[Fault]:
    yield from _told_faults(document)
    cases = document.value.cases
    if cases.console_url and not _is_plain_address(cases.console_url):
        yield document.node(cases, "console_url").fault(
            "SET011", "`console_url` must be `http://` or `https://`, a host and a path, and nothing else"
        )
    if cases.postgres_url and not is_reference(cases.postgres_url):
        yield _literal_secret(document.node(cases, "postgres_url"))
    if (cases.store == "postgres") != bool(cases.postgres_url):
        yield document.node(cases, "store").fault(
            "SET021", "`store: postgres` and `postgres_url` go together: give both or neither"
        )


def _told_faults(document: Document[Settings]) -> Iterator[Fault]:
    """Of those who are told of cases."""
    cases = document.value.cases
    told: tuple[WebhookSettings | SlackSettings | MailSettings, ...] = (*cases.webhooks, *cases.slack, *cases.mail)
    seen: Counter[str] = Counter()
    for one in told:
        seen[one.name] += 1
        if seen[one.name] == 2:
            yield document.node(one, "name").fault(
                "SET010", f"a second webhook, channel or mail is named {quoted(one.name)}: rename one of the two"
            )
    for webhook in cases.webhooks:
        if not is_reference(webhook.secret):
            yield _literal_secret(document.node(webhook, "secret"))
        if not _is_plain_address(webhook.url):
            yield document.node(webhook, "url").fault(
                "SET011", "`url` must be `http://` or `https://`, a host and a path, and nothing else"
            )
    for channel in cases.slack:
        if not is_reference(channel.url):
            yield _literal_secret(document.node(channel, "url"))
    for mail in cases.mail:
        yield from _mail_faults(document, mail)


def _mail_faults(document: Document[Settings], mail: MailSettings) -> Iterator[Fault]:
    if mail.password and not is_reference(mail.password):
        yield _literal_secret(document.node(mail, "password"))
    if bool(mail.username) != bool(mail.password):
        yield document.node(mail, "name").fault("SET022", "`username` and `password` go together: give both or neither")
    if mail.password and mail.security == "none":
        yield document.node(mail, "security").fault(
            "SET022", "a password would be sent in the clear: write `security: starttls` or `tls`"
        )


def _console_faults(document: Document[Settings]) -> Iterator[Fault]:
    console = document.value.console
    oidc = console.oidc
    if console.public_url and not _is_origin(console.public_url):
        yield document.node(console, "public_url").fault(
            "SET011", "`public_url` must be `https://` and a host, and nothing else (`http://` on loopback)"
        )
    if oidc.client_secret and not is_reference(oidc.client_secret):
        yield _literal_secret(document.node(oidc, "client_secret"))
    if oidc.issuer and not oidc.client_id:
        yield document.node(oidc, "issuer").fault("SET017", "`issuer` needs `client_id`: add the console's id there")
    if oidc.issuer and not (_is_plain_address(oidc.issuer) and _is_secure(oidc.issuer)):
        yield document.node(oidc, "issuer").fault(
            "SET011", "`issuer` must be `https://`, a host and a path, and nothing else (`http://` on loopback)"
        )


def _level_faults(document: Document[Settings]) -> Iterator[Fault]:
    for name, app in document.value.apps.items():
        if app.observe_level < app.enforce_level:
            levels = f"`observe_level: {app.observe_level}` is below `enforce_level: {app.enforce_level}`"
            yield document.node(app, "observe_level").fault(
                "SET018", f"{levels} of app {quoted(name)}: what is enforced is observed, raise it"
            )


def _is_origin(text: str) -> bool:
    return _is_plain_address(text) and _is_secure(text) and urlsplit(text).path == ""


def _is_secure(text: str) -> bool:
    url = urlsplit(text)
    return url.scheme == "https" or url.hostname in {"127.0.0.1", "::1", "localhost"}


def _body_faults(document: Document[Settings]) -> Iterator[Fault]:
    settings = document.value
    classes = settings.audit.retention
    for app in settings.apps.values():
        if app.retention and app.retention not in classes:
            yield document.node(app, "retention").fault(
                "SET019",
                f"no class of `audit.retention` is named {quoted(app.retention)}: {suggestion(app.retention, classes)}",
            )
    bodies = settings.audit.bodies
    for key in ("master_key", "vault_token"):
        if getattr(bodies, key) and not is_reference(getattr(bodies, key)):
            yield _literal_secret(document.node(bodies, key))
    for index, reference in enumerate(bodies.previous_keys):
        if not is_reference(reference):
            yield _literal_secret(document.node(bodies, "previous_keys", index))
    if bodies.vault_url and not _is_plain_address(bodies.vault_url):
        yield document.node(bodies, "vault_url").fault(
            "SET011", "`vault_url` must be `http://` or `https://`, a host and a path, and nothing else"
        )
    if bodies.vault_url and not bodies.vault_token:
        yield document.node(bodies, "vault_url").fault("SET020", "`vault_url` needs a `vault_token`: add it")


def _sink_faults(document: Document[Settings]) -> Iterator[Fault]:
    seen: Counter[str] = Counter()
    for sink in document.value.trail.sinks:
        seen[sink.name] += 1
        if seen[sink.name] == 2:
            yield document.node(sink, "name").fault(
                "SET010", f"a second sink is named {quoted(sink.name)}: rename one of the two"
            )
        if sink.token and not is_reference(sink.token):
            yield _literal_secret(document.node(sink, "token"))
        key = _ADDRESS_OF[sink.kind]
        if not getattr(sink, key):
            yield document.node(sink, "kind").fault("SET023", f"`kind: {sink.kind}` needs a `{key}`: add it")
        elif key == "url" and not _is_plain_address(sink.url):
            yield document.node(sink, "url").fault(
                "SET011", "`url` must be `http://` or `https://`, a host and a path, and nothing else"
            )


_ADDRESS_OF: Final = {"http": "url", "syslog": "host", "file": "path"}


def _fallback_faults(document: Document[Settings]) -> Iterator[Fault]:
    models = {model.name: model for model in document.value.models}
    for model in document.value.models:
        for index, name in enumerate(model.fallbacks):
            node = document.node(model, "fallbacks", index)
            if name not in models:
                yield node.fault("SET012", f"no model is named {quoted(name)}: {suggestion(name, models)}")
            elif _leads_back(models, name, model.name):
                yield node.fault(
                    "SET012", f"falling back to {quoted(name)} leads back to {quoted(model.name)}: remove it"
                )


def _leads_back(models: Mapping[str, ModelSettings], start: str, goal: str) -> bool:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name == goal:
            return True
        if name in models and name not in seen:
            seen.add(name)
            waiting.extend(models[name].fallbacks)
    return False


def redis_faults(node: Node, url: str) -> Iterator[Fault]:
    if not url or is_reference(url):
        return
    if not re.match(r"(rediss?|unix)://", url):
        yield node.fault("SET015", "`redis_url` must begin with `redis://`, `rediss://`, `unix://`, `env:` or `file:`")
    elif "@" in url:
        yield node.fault("SET016", "`redis_url` holds a password: write `env:NAME` or `file:/path`")


def _literal_secret(node: Node) -> Fault:
    return node.fault("SET016", "a secret stands in the file: write `env:NAME` or `file:/path` and replace the secret")
