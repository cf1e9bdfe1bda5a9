"""Salted commitments: the log can prove a text later without holding it, until the salt is destroyed.

`c = SHA-256(tag ‖ length ‖ text ‖ zeros up to the bucket ‖ salt ‖ event id)`. The salt (32 random bytes a
commitment) makes guessing a short text from the log hopeless; the bucket (the next power of two) hides the exact
length; the event id binds the commitment to its event, so that it cannot be moved to another. This is the usual
hash-based commitment: hiding by the salt, binding by collision resistance.
"""

import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Final

from gateway.audit.canonical import Path

SALT_BYTES: Final = 32
_TAG: Final = b"answer-gateway/commitment/v1\x00"
_LENGTH_BYTES: Final = 8
_SMALLEST_BUCKET: Final = 64  # bytes; a yes, a name and a date look alike


def bucket(size: int) -> int:
    """The padded length, in bytes, of a text of `size` bytes: the next power of two, at least 64."""
    return max(_SMALLEST_BUCKET, 1 << (size - 1).bit_length()) if size else _SMALLEST_BUCKET


def commit(text: str, salt: bytes, event_id: str) -> dict[str, Any]:
    """The JSON form that replaces a text in an event: `{"c": "c:<64 hex>", "len_bucket": bytes}`."""
    content = text.encode("utf-8", "surrogatepass")
    padded = bucket(len(content))
    digest = hashlib.sha256(_TAG)
    digest.update(len(content).to_bytes(_LENGTH_BYTES, "big"))
    digest.update(content)
    digest.update(bytes(padded - len(content)))
    digest.update(salt)
    digest.update(event_id.encode())
    return {"c": f"c:{digest.hexdigest()}", "len_bucket": padded}


def verify_commitment(event: Mapping[str, Any], path: Path, text: str, salt: bytes) -> bool:
    """Whether the decoded event commits to exactly this text at `path` (keys and indexes from the event's root)."""
    place: Any = event
    for part in path:
        try:
            place = place[part]
        except (KeyError, IndexError, TypeError):
            return False
    event_id = event.get("id")
    if not isinstance(place, Mapping) or not isinstance(event_id, str) or len(salt) != SALT_BYTES:
        return False
    expected = commit(text, salt, event_id)
    given = str(place.get("c", ""))
    return (
        hmac.compare_digest(given.encode(), expected["c"].encode())
        and place.get("len_bucket") == expected["len_bucket"]
    )
