"""Settings of ingests (what is taken in, how it is cut and judged) and of the index and its ranking."""

from typing import Annotated, Literal

from msgspec import Meta, Struct, field

PositiveInt = Annotated[int, Meta(ge=1)]
Seconds = Annotated[float, Meta(gt=0)]


def _about(text: str) -> Meta:
    return Meta(description=text)


class ChunkingSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How documents are cut whose metadata say nothing else."""

    method: Annotated[
        Literal["section", "paragraph", "window", "semantic", "row"],
        _about("at headings; whole paragraphs; overlapping sentences; where the subject changes; each row by itself"),
    ] = "section"
    target_chars: Annotated[int, Meta(ge=100, le=20_000), _about("longest passage")] = 900
    overlap_chars: Annotated[int, Meta(ge=0), _about("repeated where prose is cut; less than half the longest")] = 120
    small_chars: Annotated[int, Meta(ge=0), _about("shorter sections join a neighbour")] = 240

    def __post_init__(self) -> None:
        if self.overlap_chars >= self.target_chars // 2:
            raise ValueError("`overlap_chars` must be less than half of `target_chars`")


class IngestSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What `gateway ingest` takes in."""

    default_access: Annotated[
        tuple[str, ...], _about("groups that may see documents which name none; empty leaves such documents out")
    ] = ()
    inspect: Annotated[bool, _about("whether passages are judged by the policies before they are indexed")] = True
    max_file_bytes: Annotated[PositiveInt, _about("largest file")] = 32 * 1024 * 1024
    max_pages: Annotated[PositiveInt, _about("most pages of a PDF")] = 3_000
    max_expanded_bytes: Annotated[PositiveInt, _about("most bytes that a DOCX unpacks to")] = 256 * 1024 * 1024
    parse_timeout_s: Annotated[Seconds, _about("for parsing one file")] = 60.0
    chunking: ChunkingSettings = field(default_factory=ChunkingSettings)


class EmbedderSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An embedding model beside the packaged one, on a server with the OpenAI API. It is asked once an index was
    built with it: `gateway index build --embedder NAME`."""

    name: Annotated[str, Meta(min_length=1, max_length=100), _about("what commands call it")]
    base_url: Annotated[str, Meta(min_length=1), _about("address up to and without `/embeddings`")]
    model: Annotated[str, Meta(min_length=1), _about("the model's name at its server")]
    dimensions: Annotated[int, Meta(ge=1, le=16_384), _about("length of its vectors")]
    api_key: Annotated[str, _about("`env:NAME` or `file:/path`; a literal key is refused")] = ""
    timeout_s: Annotated[Seconds, _about("for one request of at most 64 texts")] = 30.0


class RankingSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Order and variety of what a model gets to read."""

    half_life_days: Annotated[
        int, Meta(ge=0), _about("age at which a dated passage has lost half of `freshness_weight`; 0 for never")
    ] = 0
    freshness_weight: Annotated[float, Meta(ge=0, le=1), _about("how much of a score age can take")] = 0.1
    per_document: Annotated[
        int, Meta(ge=0), _about("passages of one document before those of others; 0 for no bound")
    ] = 0
    neighbours: Annotated[
        int, Meta(ge=0, le=20), _about("how many best passages get the ones before and after them, if they fit")
    ] = 0
    max_tokens: Annotated[int, Meta(ge=0), _about("tokens of all passages together; 0 for characters only")] = 0


class RerankerSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A second look at what was found. A server gets the question and the found passages."""

    kind: Annotated[
        Literal["off", "words", "cohere", "tei"],
        _about("no second look; rare words of the question; a server like Cohere's or Jina's; one like TEI"),
    ] = "off"
    url: Annotated[str, _about("whole address of the server's call, such as `https://host/v1/rerank`")] = ""
    model: Annotated[str, _about("the model's name at its server")] = ""
    api_key: Annotated[str, _about("`env:NAME` or `file:/path`; a literal key is refused")] = ""
    timeout_s: Annotated[Seconds, _about("for one ranking; below `retrieval.timeout_s`")] = 1.0
    on_failure: Annotated[
        Literal["keep_order", "fail"], _about("whether a search counts as failed when its second look fails")
    ] = "keep_order"
