"""The name of an index's content."""

import hashlib
import json
from collections.abc import Mapping

import msgspec

from gateway.retrieval.store import IndexIdentity


def revision(store_format: str, tenant: str, identity: IndexIdentity, contents: Mapping[str, str]) -> str:
    """A function of what is indexed and how (contract S5): `contents` maps documents to what
    is indexed of them (`DocumentRecord.state`). 16 hex digits."""
    canonical = json.dumps([store_format, tenant, *msgspec.structs.astuple(identity), sorted(contents.items())])
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]
