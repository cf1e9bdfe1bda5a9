"""Cases that measure the review instead of deciding a request: they go through the queue like any other, look like any
other, and are never delivered, since their requester is nobody.

    seed    made up, with a known right decision                 `gateway cases seed`
    blind   a decided case once more, for a second reviewer who does not see the first decision

Only leads may know which cases these are: the mark stands in a table of its own.
"""

import hashlib
from datetime import datetime
from enum import StrEnum
from typing import Final

from msgspec import Struct

from gateway.cases.case import Case

_REF_BYTES: Final = 12  # as long as a requester's


class DrillKind(StrEnum):
    SEED = "seed"
    BLIND = "blind"


class Drill(Struct, frozen=True, kw_only=True):
    """The mark of such a case. `about` is the seed's name with its tenant, or the id of the case that is reviewed
    again; unique per kind. `expected` is `approve` or `refuse` for a seed, empty for a blind review."""

    case: str
    kind: DrillKind
    about: str
    expected: str = ""
    at: datetime


def drill_principal(case_id: str, key: bytes) -> str:
    """The requester of a drill: looks like anybody's reference and is nobody's. `key` as for bindings."""
    digest = hashlib.blake2b(case_id.encode(), key=key, digest_size=_REF_BYTES, person=b"drill-requester")
    return "p:" + digest.hexdigest()


def is_drill(case: Case, key: bytes) -> bool:
    """Whether the case is a drill; only whoever holds the key can tell."""
    return case.principal == drill_principal(case.id, key)


def is_sampled(case_id: str, share: float, key: bytes) -> bool:
    """Whether a case is among the `share` (0..1) that is reviewed twice: by its id, so that nobody can steer it and
    every node says the same."""
    digest = hashlib.blake2b(case_id.encode(), key=key, digest_size=8, person=b"blind-sample").digest()
    return int.from_bytes(digest) < share * 2**64
