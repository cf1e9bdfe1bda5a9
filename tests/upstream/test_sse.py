from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.upstream.sse import SseEvent, SseParser, SseTooLong

CASES = [
    ("one event", b"data: a\n\n", [SseEvent(b"a")]),
    ("no space after the colon", b"data:a\n\n", [SseEvent(b"a")]),
    ("only one space is taken away", b"data:  a\n\n", [SseEvent(b" a")]),
    ("crlf", b"data: a\r\n\r\n", [SseEvent(b"a")]),
    ("cr", b"data: a\r\rdata: b\r\r", [SseEvent(b"a"), SseEvent(b"b")]),
    ("mixed line ends", b"data: a\r\n\ndata: b\n\r\n", [SseEvent(b"a"), SseEvent(b"b")]),
    ("comments mean nothing", b": ping\n\n:\n\ndata: a\n: x\n\n", [SseEvent(b"a")]),
    ("several data lines", b"data: a\ndata:\ndata: b\n\n", [SseEvent(b"a\n\nb")]),
    ("a field without colon", b"data\n\n", [SseEvent(b"")]),
    ("a name", b"event: error\ndata: a\n\ndata: b\n\n", [SseEvent(b"a", "error"), SseEvent(b"b")]),
    ("a name without data is no event", b"event: x\n\ndata: a\n\n", [SseEvent(b"a")]),
    ("other fields", b"id: 1\nretry: 5\nfoo: bar\ndata: a\n\n", [SseEvent(b"a")]),
    ("byte order mark", b"\xef\xbb\xbfdata: a\n\n", [SseEvent(b"a")]),
    ("an event without its empty line is dropped", b"data: a\n\ndata: b\n", [SseEvent(b"a")]),
    ("code points", 'data: {"a":"ü€😀"}\n\n'.encode(), [SseEvent('{"a":"ü€😀"}'.encode())]),
    ("invalid utf-8 is the reader's business", b"data: \xff\n\n", [SseEvent(b"\xff")]),
    ("nothing", b"", []),
]


@pytest.mark.parametrize(("raw", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_parser_reads(raw, expected):
    assert SseParser().feed(raw) == expected


def fed(parts: list[bytes], parser: SseParser | None = None) -> list[SseEvent]:
    parser = parser or SseParser()
    return [event for part in parts for event in parser.feed(part)]


LINES = st.sampled_from(
    ["data: a", "data:", "data: ü€😀", "event: x", ": c", "", "", "data: [DONE]", "id", "\ufeffdata: b"]
)
ENDS = st.sampled_from(["\n", "\r\n", "\r"])


@given(st.lists(st.tuples(LINES, ENDS), max_size=20), st.lists(st.integers(0, 200), max_size=30))
def test_any_cut_gives_the_same_events(lines, cuts):
    raw = "".join(line + end for line, end in lines).encode()
    places = sorted({min(cut, len(raw)) for cut in cuts} | {0, len(raw)})
    parts = [raw[start:end] for start, end in pairwise(places)]
    assert fed(parts) == fed([raw]) == fed([raw[at : at + 1] for at in range(len(raw))])


@given(st.binary(max_size=300), st.integers(1, 50))
def test_any_bytes_cut_anywhere_give_the_same_events(raw, size):
    assert fed([raw[at : at + size] for at in range(0, len(raw), size)]) == fed([raw])


@pytest.mark.parametrize("cut", [1, 7, 1_000])
def test_a_line_over_its_bound_is_refused_before_its_end(cut):
    raw = b"data: " + b"x" * 200
    with pytest.raises(SseTooLong):
        fed([raw[at : at + cut] for at in range(0, len(raw), cut)], SseParser(max_line_bytes=100))


def test_a_line_within_its_bound_passes_and_one_complete_line_over_it_does_not():
    assert SseParser(max_line_bytes=10).feed(b"data: abcd\n\n") == [SseEvent(b"abcd")]
    with pytest.raises(SseTooLong):
        SseParser(max_line_bytes=10).feed(b"data: abcde\n\n")


def test_an_event_over_its_bound_is_refused():
    parser = SseParser(max_event_bytes=50)
    with pytest.raises(SseTooLong):
        parser.feed(b"data: 0123456789\n" * 10)


def test_representation_shows_no_data():
    assert "secret" not in repr(SseEvent(b"secret"))
