"""The two Weaviate collections of a passage store, and the check that a server's are as the store needs them.

`<name>` holds the passages, with one Weaviate tenant for each of ours. `<name>Index` holds one object for each tenant:
which generation of its passages is visible, and its catalogue.
"""

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from gateway.domain.errors import ConfigurationError

FOREVER: Final = 2**31 - 1  # `until` of a passage that no ingest has replaced


class _Field(Struct, frozen=True, kw_only=True):
    """A property: `kind` is Weaviate's data type. `exact` text is one token, so that a filter compares the whole
    value and its case; `words` text is what BM25 searches; the rest is stored only."""

    kind: str
    exact: bool = False
    words: bool = False
    ranged: bool = False


PASSAGE_FIELDS: Final[Mapping[str, _Field]] = {
    "doc": _Field(kind="text", exact=True),
    "access": _Field(kind="text[]", exact=True),
    "heading": _Field(kind="text", words=True),
    "text": _Field(kind="text", words=True),
    "body": _Field(kind="text"),  # the passage as JSON
    "opens": _Field(kind="int", ranged=True),  # first and last day on which it is valid, as proleptic ordinals
    "closes": _Field(kind="int", ranged=True),
    "since": _Field(kind="int", ranged=True),  # first generation that shows the passage
    "until": _Field(kind="int", ranged=True),  # first generation that no longer does
}
INDEX_FIELDS: Final[Mapping[str, _Field]] = {
    "tenant": _Field(kind="text", exact=True),
    "generation": _Field(kind="int"),
    "index_rev": _Field(kind="text"),
    "identity": _Field(kind="text"),  # IndexIdentity as JSON
    "documents": _Field(kind="text"),  # list of DocumentRecord as JSON
}


def index_name(collection: str) -> str:
    return f"{collection}Index"


async def ensure_schema(client: Any, collection: str, *, description: str = "") -> None:
    """Create missing collections, that of passages with `description`. Raises `ConfigurationError` naming the remedy
    for one that is not as it must be."""
    await _ensure(client, collection, PASSAGE_FIELDS, multi_tenant=True, description=description)
    await _ensure(client, index_name(collection), INDEX_FIELDS, multi_tenant=False)


async def _ensure(
    client: Any, name: str, fields: Mapping[str, _Field], *, multi_tenant: bool, description: str = ""
) -> None:
    if not await client.collections.exists(name):
        await _create(client, name, fields, multi_tenant=multi_tenant, description=description)
    config = await client.collections.use(name).config.get()
    problems = _problems(config, fields, multi_tenant=multi_tenant)
    if problems:
        remedy = "delete the collection and ingest again, or set another `weaviate_collection`"
        raise ConfigurationError(f"weaviate collection `{name}` cannot be used: {'; '.join(problems)}: {remedy}")


async def _create(
    client: Any, name: str, fields: Mapping[str, _Field], *, multi_tenant: bool, description: str
) -> None:
    from weaviate.classes.config import (
        Configure,
        DataType,
        Property,
        Tokenization,
        VectorDistances,
        VectorFilterStrategy,
    )

    def made(field_name: str, field: _Field) -> Any:
        is_text = field.kind.startswith("text")
        return Property(
            name=field_name,
            data_type=DataType(field.kind),
            index_filterable=field.exact,
            index_searchable=field.words if is_text else None,
            index_range_filters=field.ranged if not is_text else None,
            tokenization=(Tokenization.WORD if field.words else Tokenization.FIELD) if is_text else None,
        )

    hnsw = Configure.VectorIndex.hnsw(
        distance_metric=VectorDistances.COSINE, filter_strategy=VectorFilterStrategy.ACORN
    )
    await client.collections.create(
        name,
        description=description or None,
        properties=[made(field_name, field) for field_name, field in fields.items()],
        multi_tenancy_config=Configure.multi_tenancy(enabled=multi_tenant),
        vector_config=Configure.Vectors.self_provided(vector_index_config=hnsw),
    )


def _problems(config: Any, fields: Mapping[str, _Field], *, multi_tenant: bool) -> list[str]:
    problems = []
    if config.multi_tenancy_config.enabled != multi_tenant:
        problems.append(f"multi-tenancy must be {'on' if multi_tenant else 'off'}")
    found = {one.name: one for one in config.properties}
    for name, field in fields.items():
        one = found.get(name)
        if one is None:
            problems.append(f"property `{name}` is missing")
            continue
        if one.data_type.value != field.kind:
            problems.append(f"property `{name}` must be `{field.kind}`")
            continue
        tokenization = one.tokenization.value if one.tokenization else ""
        if field.exact and tokenization != "field":
            problems.append(f"property `{name}` must have `field` tokenization, not `{tokenization}`")
        if field.exact and not one.index_filterable:
            problems.append(f"property `{name}` must be filterable")
        if field.words and not one.index_searchable:
            problems.append(f"property `{name}` must be searchable")
        if field.ranged and not one.index_range_filters:
            problems.append(f"property `{name}` must have range filters")
    return problems
