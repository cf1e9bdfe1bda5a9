"""What of an exchange is kept, under which master key, and for how long."""

from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta, Struct

FLOOR_DAYS: Final = 184
"""Six months, whichever they are (July to December)."""

_YEAR_DAYS: Final = 365


class CaptureLevel(StrEnum):
    """How much of an exchange the audit trail keeps."""

    METADATA = "metadata"  # decisions and counts; no values of signals, no commitments to texts
    SIGNALS = "signals"  # and what the detectors saw, and salted commitments to the texts
    ENCRYPTED_BODY = "encrypted_body"  # and the texts, encrypted with a key that erasure destroys


class RetentionSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long kept texts can be opened and commitments can be proved; the key names the class."""

    days: Annotated[
        int, Meta(ge=FLOOR_DAYS, description=f"days from the end of a text's month; at least {FLOOR_DAYS}")
    ] = _YEAR_DAYS


DEFAULT_RETENTION: Final = RetentionSettings()


class BodySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Texts that are kept encrypted."""

    master_key: Annotated[
        str,
        Meta(
            description="`file:/path` or `env:NAME` of 64 hex digits that wrap the data keys; empty derives them from "
            "the data folder's key"
        ),
    ] = ""
    previous_keys: Annotated[
        tuple[str, ...],
        Meta(description="master keys before; `gateway audit keys rotate` wraps anew what they have wrapped"),
    ] = ()
    vault_url: Annotated[
        str, Meta(description="address of a key service that speaks Vault's transit API; used instead of a master key")
    ] = ""
    vault_mount: Annotated[str, Meta(description="where its transit engine is mounted")] = "transit"
    vault_key: Annotated[str, Meta(description="name of the wrapping key there")] = "answer-gateway"
    vault_token: Annotated[str, Meta(description="`env:NAME` or `file:/path` of the token for it")] = ""
    timeout_s: Annotated[float, Meta(gt=0, description="until the key service must have answered")] = 2.0
