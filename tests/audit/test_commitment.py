import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.audit.commitment import bucket, commit, verify_commitment

SALT = bytes(range(32))


@pytest.mark.parametrize(
    ("size", "padded"), [(0, 64), (1, 64), (64, 64), (65, 128), (128, 128), (129, 256), (1_000_000, 1_048_576)]
)
def test_bucket_is_the_next_power_of_two(size: int, padded: int) -> None:
    assert bucket(size) == padded


def test_commitment_has_a_fixed_form() -> None:
    # Pinned: a change of the form would orphan every commitment ever written.
    assert commit("hello", SALT, "id-1") == {
        "c": "c:f839404f69fd5c39e4122271423fb32b078b5a474d4719cf9a3748cd846df19f",
        "len_bucket": 64,
    }


@given(st.text(max_size=300), st.text(max_size=300))
def test_only_the_committed_text_verifies(text: str, other: str) -> None:
    event = {"id": "id-1", "bodies": [{"content": commit(text, SALT, "id-1")}]}
    path = ("bodies", 0, "content")
    assert verify_commitment(event, path, text, SALT)
    assert verify_commitment(event, path, other, SALT) == (other == text)


def test_commitment_is_bound_to_salt_event_and_place() -> None:
    event = {"id": "id-1", "query": commit("yes", SALT, "id-1"), "other": "yes"}
    assert verify_commitment(event, ("query",), "yes", SALT)
    assert not verify_commitment(event, ("query",), "yes", os.urandom(32))
    assert not verify_commitment(event, ("query",), "yes", b"")
    assert not verify_commitment({**event, "id": "id-2"}, ("query",), "yes", SALT)
    assert not verify_commitment(event, ("other",), "yes", SALT)
    assert not verify_commitment(event, ("missing", 3), "yes", SALT)
    assert not verify_commitment({"query": event["query"]}, ("query",), "yes", SALT)
    assert not verify_commitment({**event, "query": {**event["query"], "len_bucket": 128}}, ("query",), "yes", SALT)


def test_trailing_zeros_of_a_text_are_not_padding() -> None:
    assert commit("a", SALT, "id") != commit("a\x00", SALT, "id")


def test_text_that_is_not_valid_unicode_can_be_committed() -> None:
    assert commit("\ud800", SALT, "id")["len_bucket"] == 64
