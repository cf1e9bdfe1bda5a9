import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import RequestError
from gateway.wire.body import at, decode_body, depth_exceeds, edited, encode_body, keys, texts


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b'{"a": "\xff"}', "invalid_json"),
        (b'{"a": "\\ud800"}', "invalid_json"),
        (b'{"a": 1} x', "invalid_json"),
        (b"[]", "invalid_body"),
        (b"null", "invalid_body"),
        (b'{"a":' + b"[" * 70 + b"]" * 70 + b"}", "body_too_deep"),
        (b'{"a":' + b"[" * 200_000, "invalid_json"),
        (b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}", "invalid_json"),
    ],
)
def test_bad_bodies_are_a_request_error_with_a_code_and_no_content(payload, code):
    with pytest.raises(RequestError) as caught:
        decode_body(payload, max_depth=64)
    assert caught.value.code == code
    assert caught.value.status == 400
    assert "\n" not in caught.value.message


def test_of_duplicate_keys_the_judged_one_is_the_one_that_is_sent():
    body = decode_body(b'{"model": "a", "model": "b"}', max_depth=8)
    assert encode_body(body) == b'{"model":"b"}'


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=5), children, max_size=4),
    max_leaves=20,
)
OBJECTS = st.dictionaries(st.text(max_size=5), JSON, max_size=5)


@given(OBJECTS)
def test_a_body_passes_through_unchanged(body):
    assert decode_body(encode_body(body), max_depth=64) == body


@given(OBJECTS)
def test_texts_finds_every_string_at_its_address(body):
    found = list(texts(body))
    assert all(at(body, address) == text for address, text in found)
    count = 0

    def walk(value):
        nonlocal count
        if isinstance(value, str):
            count += 1
        for child in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(child)

    walk(body)
    assert len(found) == count


@given(OBJECTS, st.data())
def test_an_edit_changes_its_address_and_nothing_else(body, data):
    found = list(texts(body))
    if not found:
        return
    before = msgspec.json.encode(body)
    address, _ = data.draw(st.sampled_from(found))
    changed = edited(body, {address: "NEW"})
    assert at(changed, address) == "NEW"
    assert [item for item in texts(changed) if item[0] != address] == [item for item in found if item[0] != address]
    assert msgspec.json.encode(body) == before, "the original is left alone"


def test_an_edit_without_a_place_is_an_error_not_a_lost_redaction():
    with pytest.raises(KeyError):
        edited({"a": {}}, {("a", "b"): "x"})
    with pytest.raises(IndexError):
        edited({"a": []}, {("a", 0): "x"})


def test_depth_and_keys():
    assert not depth_exceeds({"a": [1]}, 2)
    assert depth_exceeds({"a": [1]}, 1)
    assert list(keys({"a": [{"b": 1}], "c": {"d": 2}})) == ["a", "b", "c", "d"]
