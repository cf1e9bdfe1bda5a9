"""What a sealed segment consists of: the manifest beside its files.

segments/
  manifests/<first>-<last>.json                  one for each segment, written last: without it there is no segment
  events/tenant=<tenant>/day=<day>/<first>-<last>.parquet

Events of the node itself, which no tenant has, lie under Hive's name for a missing value. Names of tenants are
percent-encoded as Hive does.
"""

import base64
import re
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

import msgspec
from msgspec import Struct

from gateway.audit.merkle import HASH_BYTES
from gateway.audit.segments_tree import Beside
from gateway.domain.errors import GatewayError

FORMAT: Final = "answer-gateway/segment/v1"
NO_TENANT: Final = "__HIVE_DEFAULT_PARTITION__"
_NAME: Final = re.compile(r"([0-9]{12})-([0-9]{12})\.json")


class SegmentDamaged(GatewayError):
    """A file of a segment is not what was sealed; the text names it."""

    code = "segment_damaged"


class SegmentFile(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One file. `path` is relative to the folder of the segments; `sha256` is hex."""

    path: str
    sha256: str
    events: int


class Manifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A segment: the events from `first` to `last` of a log, without gaps. `checkpoint` is a signed note that covers
    them, `before` and `behind` lead from them to its root (base64)."""

    format: str = FORMAT
    log: str
    day: str
    first: int
    last: int
    checkpoint: str
    before: tuple[str, ...]
    behind: tuple[str, ...]
    files: tuple[SegmentFile, ...]

    @property
    def name(self) -> str:
        return f"{self.first:012d}-{self.last:012d}"

    def beside(self) -> Beside:
        """Raises `SegmentDamaged`."""
        try:
            hashes = [
                tuple(base64.b64decode(one, validate=True) for one in side) for side in (self.before, self.behind)
            ]
        except ValueError:
            hashes = [(b"",)]
        if any(len(one) != HASH_BYTES for side in hashes for one in side):
            raise SegmentDamaged(f"segment {self.name}: its manifest holds something else than hashes")
        return Beside(*hashes)


def encoded(beside: Beside) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Both sides in base64."""
    before, behind = (tuple(base64.b64encode(one).decode() for one in side) for side in (beside.before, beside.behind))
    return before, behind


def manifests(folder: Path) -> list[Path]:
    """Files of manifests in the order of their events."""
    return sorted(path for path in (folder / "manifests").glob("*.json") if _NAME.fullmatch(path.name))


def read_manifest(path: Path) -> Manifest:
    """Raises `SegmentDamaged` for a file that is none, or is named after other events."""
    try:
        manifest = msgspec.json.decode(path.read_bytes(), type=Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, OSError) as error:
        raise SegmentDamaged(f"`{path.name}` is no manifest: {type(error).__name__}") from None
    if manifest.format != FORMAT or not 1 <= manifest.first <= manifest.last or path.stem != manifest.name:
        raise SegmentDamaged(f"`{path.name}` is not the manifest of these events: restore it")
    return manifest


def partition(tenant: str, day: str) -> Path:
    """The folder of a tenant's events of a day, below that of the segments."""
    return Path("events") / f"tenant={quote(tenant, safe='') or NO_TENANT}" / f"day={day}"


def tenant_of(path: str) -> str:
    """The tenant whose events lie in a file."""
    name = Path(path).parts[1].removeprefix("tenant=") if len(Path(path).parts) == 4 else ""
    return "" if name == NO_TENANT else unquote(name)
