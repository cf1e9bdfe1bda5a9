import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import ConfigurationError
from gateway.domain.sealing import MasterKey, Purpose, Sealer, UnsealError

KEY = MasterKey(bytes(range(32)))


@given(st.binary(max_size=200), st.binary(max_size=20))
def test_what_was_sealed_opens_in_its_context_only(plaintext: bytes, context: bytes) -> None:
    sealed = KEY.seal(plaintext, context)
    assert KEY.open(sealed, context) == plaintext
    assert KEY.seal(plaintext, context) != sealed
    with pytest.raises(UnsealError):
        KEY.open(sealed, context + b"x")


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_any_changed_byte_is_noticed(place: int, change: int) -> None:
    sealed = bytearray(KEY.seal(b"the held answer", b"case"))
    sealed[place % len(sealed)] ^= change
    with pytest.raises(UnsealError):
        KEY.open(bytes(sealed), b"case")


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x01short", b"\x02" + bytes(60)])
def test_what_is_no_sealed_content_is_refused(sealed: bytes) -> None:
    with pytest.raises(UnsealError):
        KEY.open(sealed, b"")


def test_another_key_does_not_open() -> None:
    with pytest.raises(UnsealError):
        MasterKey(bytes(32)).open(KEY.seal(b"x", b""), b"")
    with pytest.raises(UnsealError):
        Sealer(KEY.derive(Purpose.CASE_CONTENT)).open(KEY.seal(b"x", b""), b"")


def test_derived_keys_are_stable_and_differ_by_purpose_and_master() -> None:
    keys = [KEY.derive(purpose) for purpose in Purpose] + [MasterKey(bytes(32)).derive(Purpose.SEAL)]
    assert len(set(keys)) == len(Purpose) + 1
    assert {len(key) for key in keys} == {32}
    # RFC 5869 with SHA-256, empty salt and info `answer-gateway/seal`; pinned, for sealed content must stay readable.
    assert KEY.derive(Purpose.SEAL).hex() == "bb699aad87573575e789e847a96926490b6357b164ff8317ac0c7c9c73d87067"


def test_a_key_is_created_once_private_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: MasterKey.load_or_create(path).derive(Purpose.SEAL), range(8)))
    assert len(set(made)) == 1
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["master.key"]


@pytest.mark.parametrize(
    ("content", "mode", "remedy"),
    [
        (b"ab" * 32, 0o644, "chmod 600"),
        (b"ab" * 31, 0o600, "not 64 hex digits"),
        (b"xy" * 32, 0o600, "not 64 hex digits"),
        (b"\xff" * 64, 0o600, "not 64 hex digits"),
        (b"", 0o600, "not 64 hex digits"),
    ],
)
def test_a_key_file_that_is_open_or_malformed_is_refused(
    tmp_path: Path, content: bytes, mode: int, remedy: str
) -> None:
    path = tmp_path / "master.key"
    path.write_bytes(content)
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match=remedy) as caught:
        MasterKey.load_or_create(path)
    assert "abab" not in str(caught.value)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="No such file or directory"):
        MasterKey.load_or_create(tmp_path / "nowhere" / "master.key")


def test_keys_show_and_travel_nowhere() -> None:
    assert repr(KEY) == str(KEY) == "MasterKey(…)"
    assert repr(Sealer(bytes(32))) == "Sealer(…)"
    with pytest.raises(TypeError):
        pickle.dumps(KEY)
    with pytest.raises(ValueError, match="32 bytes, not 3"):
        MasterKey(b"abc")
    with pytest.raises(ValueError, match="32 bytes, not 3"):
        Sealer(b"abc")
