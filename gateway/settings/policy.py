"""Settings of the roll-out of policies: what must hold of a bundle before it is in force, and what runs beside it."""

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct


def _about(text: str) -> Meta:
    return Meta(description=text)


class SignatureSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who must have approved the policies in force."""

    keys: Annotated[
        tuple[str, ...],
        Meta(min_length=1),
        _about("public keys of people: `NAME=FILE` (PEM) or `NAME=ed25519:BASE64`"),
    ]
    manifest: Annotated[Path, _about("the manifest that `gateway policy sign` writes")] = Path("policies.manifest.json")
    approvals: Annotated[int, Meta(ge=1, le=20), _about("approvers that are needed, other than the author")] = 2


class PolicySettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How policies come into force."""

    reload_s: Annotated[
        float, Meta(ge=0, le=86_400), _about("how often changes of policy files are looked for; 0 waits for SIGHUP")
    ] = 2.0
    selftest: Annotated[
        Literal["off", "rules", "conversations"],
        _about("which of a bundle's own tests must pass before it is in force; `conversations` includes `rules`"),
    ] = "rules"
    candidate: Annotated[
        tuple[Path, ...], _about("policies that are evaluated beside those in force and never enforced")
    ] = ()
    candidate_timeout_s: Annotated[
        float, Meta(gt=0, le=60), _about("how long an exchange waits for detectors that only the candidate needs")
    ] = 0.5
    require_signatures: SignatureSettings | None = None  # without it nobody needs to sign
