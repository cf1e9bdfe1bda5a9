import re
import secrets

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.identity.key_format import KEY_CHARS, SECRET_CHARS, new_key, parse_key

RANDOM = st.binary(min_size=28, max_size=28)


def key_of(raw: bytes) -> str:
    """The key made of these random bytes."""
    taken = iter([raw[:8], raw[8:]])
    return new_key(lambda _: next(taken))[1].reveal()


def test_form_and_entropy():
    parts, key = new_key(secrets.token_bytes)
    assert re.fullmatch(r"gw_[0-9a-hjkmnp-tv-z]{10}_[0-9a-hjkmnp-tv-z]{39}", key.reveal())
    assert len(key.reveal()) == KEY_CHARS
    assert SECRET_CHARS * 5 == 160
    assert parse_key(key.reveal()) == parts


def test_random_bytes_are_used_whole():
    asked = []

    def random_bytes(count):
        asked.append(count)
        return bytes(range(count))

    new_key(random_bytes)
    assert sum(asked) >= 27


@given(RANDOM)
def test_every_key_parses_and_says_its_id(raw):
    key = key_of(raw)
    parts = parse_key(key)
    assert parts is not None
    assert key.startswith(f"gw_{parts.id}_{parts.secret.reveal()}")
    assert parts.secret.reveal() not in repr(parts)


@given(RANDOM, st.integers(0, KEY_CHARS - 1), st.characters())
def test_one_wrong_character_is_noticed(raw, at, character):
    key = key_of(raw)
    mistyped = key[:at] + character + key[at + 1 :]
    assert (parse_key(mistyped) is None) == (mistyped != key)


@given(RANDOM, st.integers(0, KEY_CHARS - 2))
def test_two_swapped_characters_are_noticed(raw, at):
    key = key_of(raw)
    swapped = key[:at] + key[at + 1] + key[at] + key[at + 2 :]
    assert (parse_key(swapped) is None) == (swapped != key)


@pytest.mark.parametrize(
    "text", ["", "gw_", "sk-123", "gw_a_b", "x" * KEY_CHARS, "gw_" + "ü" * (KEY_CHARS - 3), "gw_" * 10_000]
)
def test_anything_else_is_no_key(text):
    assert parse_key(text) is None


@given(st.text(max_size=80))
def test_any_text_is_read_without_error(text):
    assert parse_key(text) is None
