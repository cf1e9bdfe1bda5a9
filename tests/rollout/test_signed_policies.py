"""Policies that two people other than the author must have signed."""

import base64
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from rollout_driver import Client, events
from rollout_texts import policy, rule, words, write

from gateway.__main__ import cli
from gateway.app import start
from gateway.domain.errors import ConfigurationError
from gateway.domain.event import EventType
from gateway.policy.signing import public_keys
from gateway.settings import AppSettings, SignatureSettings

PEOPLE = ("user:kim", "user:ana", "user:li")


@pytest.fixture
async def session():
    async with aiohttp.ClientSession() as session:
        yield session


class Desk:
    """The people with their keys, and the command they sign with."""

    def __init__(self, folder: Path, policies: Path) -> None:
        self.folder, self.policies = folder, policies
        self.manifest = folder / "policies.manifest.json"
        for name in PEOPLE:
            key = Ed25519PrivateKey.generate()
            short = name.partition(":")[2]
            pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            (folder / f"{short}.pem").write_bytes(pem)
            public = key.public_key()
            (folder / f"{short}.pub").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
            (folder / f"{short}.raw").write_text(base64.b64encode(public.public_bytes_raw()).decode())

    def sign(self, by: str, *, author: str = "") -> None:
        options = ["--author", author] if author else []
        key = str(self.folder / f"{by.partition(':')[2]}.pem")
        done = CliRunner().invoke(
            cli,
            [
                "policy",
                "sign",
                str(self.policies),
                "--manifest",
                str(self.manifest),
                "--key",
                key,
                "--as",
                by,
                *options,
            ],
        )
        assert done.exit_code == 0, done.output

    def required(self, approvals: int = 2) -> SignatureSettings:
        kim, ana, li = (self.folder / f"{name}.pub" for name in ("kim", "ana", "li"))
        raw = (self.folder / "li.raw").read_text()
        assert li.exists()
        keys = (f"user:kim={kim}", f"user:ana={ana}", f"user:li=ed25519:{raw}")
        return SignatureSettings(keys=keys, manifest=self.manifest, approvals=approvals)


@pytest.fixture
def desk(tmp_path: Path, policies: Path) -> Desk:
    folder = tmp_path / "people"
    folder.mkdir()
    return Desk(folder, policies)


def signed_by_two(desk: Desk) -> None:
    desk.sign("user:ana", author="user:kim")
    desk.sign("user:li")


def unsigned(desk: Desk) -> None:
    """Nobody signs."""


def by_one(desk: Desk) -> None:
    desk.sign("user:ana", author="user:kim")


def author_and_one(desk: Desk) -> None:
    desk.sign("user:kim", author="user:kim")
    desk.sign("user:ana")


def changed_afterwards(desk: Desk) -> None:
    signed_by_two(desk)
    file = desk.policies / "main.yaml"
    file.write_text(file.read_text().replace("refuse", "flag"))


def a_comment_afterwards(desk: Desk) -> None:
    signed_by_two(desk)
    file = desk.policies / "main.yaml"
    file.write_text(file.read_text() + "# more\n")


def no_manifest_any_more(desk: Desk) -> None:
    signed_by_two(desk)
    desk.manifest.write_text("{}")


@pytest.mark.parametrize(
    ("prepare", "told"),
    [
        (unsigned, "not signed"),
        (by_one, "1 approvals by people other than the author"),
        (author_and_one, "1 approvals by people other than the author"),
        (changed_afterwards, "`main` is not the one that was signed"),
        (a_comment_afterwards, "`main` is not the one that was signed"),
        (no_manifest_any_more, "manifest is not readable"),
    ],
)
async def test_what_is_not_signed_as_required_does_not_start(
    make_settings, desk: Desk, prepare: Callable[[Desk], None], told: str
) -> None:
    prepare(desk)
    with pytest.raises(ConfigurationError, match=told) as caught:
        await start(make_settings(policy={"require_signatures": desk.required()}), {})
    assert caught.value.code == "policy_unsigned"


async def test_signed_policies_start_and_only_signed_changes_come_into_force(running, policies, desk, session) -> None:
    signed_by_two(desk)
    apps = {"mild": AppSettings(enforce_level=1)}  # levels are settings: nobody signs them
    with running(policy={"require_signatures": desk.required()}, apps=apps) as gateway:
        client = Client(gateway.url, gateway.key(), session)
        before = await client.policy()
        (started,) = events(gateway.settings.data_dir, EventType.POLICY_ACTIVATE)
        assert started["approved_by"] == ["user:ana", "user:li"]

        write(policies, policy(rule(), lists=words("beta")))
        stale = await client.until(lambda state: state["state"] == "stale")
        assert (stale["digest"], stale["error"]) == (before["digest"], "policy_unsigned")
        assert await client.decision("alpha") == "refuse"
        (event,) = events(gateway.settings.data_dir, EventType.POLICY_REJECTED)
        assert event["code"] == "policy_unsigned"

        signed_by_two(desk)
        after = await client.until(lambda state: state["state"] == "current")
        assert after["digest"] != before["digest"]
        assert await client.decision("beta") == "refuse"
        changed = events(gateway.settings.data_dir, EventType.POLICY_ACTIVATE)[-1]
        assert (changed["approved_by"], changed["previous"]) == (["user:ana", "user:li"], before["digest"])


async def test_the_kept_copy_must_be_signed_too(make_settings, policies, desk) -> None:
    """Who may write to the data folder cannot bring unsigned policies into force through the last good copy."""
    gateway = await start(make_settings(), {})  # nobody asks for signatures yet: this is kept
    await gateway.closing.aclose()
    write(policies, {"apiVersion": "gateway/v1"})
    with pytest.raises(ConfigurationError):
        await start(make_settings(policy={"require_signatures": desk.required()}), {})


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        (["user:ana"], "NAME=FILE"),
        (["user:ana=/no/such/file"], "cannot be read"),
        (["user:ana=ed25519:AAAA"], "base64 of 32 bytes"),
        (["user:ana=ed25519:!"], "base64 of 32 bytes"),
    ],
)
def test_a_key_that_cannot_be_one_is_told(entries: list[str], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        public_keys(entries)


def test_a_person_has_one_key(desk: Desk) -> None:
    (first, *_) = desk.required().keys
    with pytest.raises(ConfigurationError, match="two public keys of `user:kim`"):
        public_keys([first, first])
