"""Whatever stands in a body, the answer is a 200 or a 4xx in the shape of an error, one chain of events records it, and
the gateway goes on."""

import http.client
import json
import string
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from support.server import RunningGateway
from support.wire import CHAT, STRICT_APP, Answered, Caller, error_of

CHAINS = (["rejected"], ["intent", "outcome"], ["intent", "stream.open", "stream.close"])
CALL = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"who": "Zoe"}'}}
FULL_CHAT: dict[str, Any] = {
    "model": "real",
    "messages": [
        {"role": "system", "content": "Be brief.", "name": "desk"},
        {"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "image_url", "image_url": {"url": "x"}}]},
        {"role": "assistant", "content": None, "refusal": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "zoe@mail.example"},
        {"role": "user", "content": "and now?"},
    ],
    "stream": False,
    "stream_options": {"include_usage": True},
    "n": 1,
    "temperature": 0.5,
    "top_p": 1,
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "max_tokens": 100,
    "max_completion_tokens": 100,
    "logprobs": True,
    "top_logprobs": 2,
    "stop": ["END"],
    "seed": 7,
    "user": "u1",
    "logit_bias": {"1": 1},
    "metadata": {"a": "b"},
    "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
    "tools": [{"type": "function", "function": {"name": "find", "parameters": {"type": "object"}}}],
    "tool_choice": {"type": "function", "function": {"name": "find"}},
    "functions": [{"name": "old"}],
    "parallel_tool_calls": True,
}
FULL_EMBEDDING: dict[str, Any] = {
    "model": "all-minilm-l6-v2",
    "input": ["one", "two"],
    "encoding_format": "float",
    "dimensions": 384,
    "user": "u1",
}
ODD_VALUES = (
    *("null", "true", "0", "-1", "1.5", "1e400", "-0.0", "123456789012345678901234567890123456789"),
    *('""', '"x"', r'"\u0000"', r'"\ud800"', r'"\udc00\ud800"'),
    *("[]", "{}", "[[]]", "[null]", "[{}]", '{"":""}', r'{"\u0000":[{"a":"forbidden-word"}]}'),
)
PLACE = "@place@"


class Line:
    """One connection to the gateway, kept as long as the gateway keeps it."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self._connection = http.client.HTTPConnection("127.0.0.1", caller.gateway.port, timeout=30)

    def post(self, path: str, data: bytes) -> Answered:
        return self.request("POST", path, data)

    def request(self, method: str, path: str, data: bytes | None = None) -> Answered:
        headers = {"authorization": f"Bearer {self.caller.key}", "content-type": "application/json"}
        self._connection.request(method, path, data, headers)
        response = self._connection.getresponse()
        return Answered(response.status, response.headers, response.read())

    def close(self) -> None:
        self._connection.close()

    def holds(self, path: str, data: bytes) -> Answered:
        """Send, and check what must hold for every body."""
        answered = self.post(path, data)
        assert answered.status == 200 or 400 <= answered.status < 500, (answered.status, answered.raw[:500], data[:500])
        if answered.status != 200:
            error_of(answered)
        elif answered.headers["content-type"].startswith("text/event-stream"):
            assert answered.items[-1] == "[DONE]"
        recorded = [event["type"] for event in self.caller.recorded(answered.exchange)]
        types = [name for name in recorded if name != "case.opened"]
        assert types in CHAINS, types
        assert (types == ["rejected"]) <= (answered.status != 200)
        return answered


@pytest.fixture(scope="module")
def line(caller: Caller) -> Iterator[Line]:
    line = Line(caller)
    yield line
    line.close()


@pytest.fixture(autouse=True)
def _goes_on(line: Line) -> Iterator[None]:
    """After whatever a test did, a plain request is answered."""
    yield
    answered = line.post(CHAT, json.dumps({"model": "real", "messages": [{"role": "user", "content": "hi"}]}).encode())
    assert (answered.status, answered.text) == (200, "Hello there.")


def places(value: Any, address: tuple = ()) -> Iterator[tuple]:
    """Every address of a value and of all that is below it."""
    yield address
    below = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, child in below:
        yield from places(child, (*address, step))


def with_source(body: Any, address: tuple, source: str) -> bytes:
    """The body's JSON with the source text `source` at an address."""
    copied = json.loads(json.dumps(body))
    if not address:
        return source.encode()
    parent = copied
    for step in address[:-1]:
        parent = parent[step]
    parent[address[-1]] = PLACE
    return json.dumps(copied).replace(f'"{PLACE}"', source).encode()


@pytest.mark.parametrize(
    ("path", "full", "address"),
    [(CHAT, FULL_CHAT, address) for address in places(FULL_CHAT)]
    + [("/v1/embeddings", FULL_EMBEDDING, address) for address in places(FULL_EMBEDDING)],
    ids=lambda value: ".".join(map(str, value)) or "body" if isinstance(value, tuple) else "",
)
def test_a_wrong_value_at_any_known_place(line, path, full, address):
    for source in ODD_VALUES:
        line.holds(path, with_source(full, address, source))


def test_the_full_bodies_are_themselves_accepted(line):
    assert line.holds(CHAT, json.dumps(FULL_CHAT).encode()).status == 200
    assert line.holds("/v1/embeddings", json.dumps(FULL_EMBEDDING).encode()).status == 200


class TestJson:
    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b" ",
            b"\x00",
            b"\xef\xbb\xbf{}",
            b"{}",
            b"[]",
            b"nul",
            b"NaN",
            b'{"model":NaN}',
            b'{"model":"real","messages":[{"role":"user","content":"x"}]} trailing',
            b'{"model":"real","messages":[{"role":"user","content":"x"}],}',
            b"{'model':'real'}",
            b'{"model":"real","messages":[{"role":"user","content":"\xff"}]}',
            b'{"model":"real","messages":[{"role":"user","content":"a\x01b"}]}',
            b'{"model":"real","messages":[{"role":"user","content":"\\x"}]}',
            b'{"model":"real","messages":[{"role":"user","content":"\\u12"}]}',
            "ein Text".encode("utf-16"),
            b'{"a":' * 5_000,
            b"[" * 100_000,
            b"[" * 50_000 + b"]" * 50_000,
            b'{"model":"real","messages":' + b'{"a":' * 70 + b"1" + b"}" * 70 + b"}",
            b'{"model":"real","messages":[{"role":"user","content":"x"}],"n":' + b"9" * 10_000 + b"}",
        ],
        ids=range(22),
    )
    def test_what_is_no_request_is_rejected(self, line, data):
        answered = line.holds(CHAT, data)
        assert 400 <= answered.status < 500
        assert [event["type"] for event in line.caller.recorded(answered.exchange)] == ["rejected"]

    def test_of_duplicate_keys_the_one_that_was_judged_is_sent(self, line, model):
        before = len(model.received)
        data = (
            b'{"model":"real","messages":[{"role":"user","content":"forbidden-word"}],'
            b'"messages":[{"role":"user","content":"forbidden-word","content":"fine"}]}'
        )
        assert line.holds(CHAT, data).text == "Hello there."
        assert model.received[before:] == [{"model": "real", "messages": [{"role": "user", "content": "fine"}]}]

    @pytest.mark.parametrize("key", ["forbidden-word", "a forbidden-word!"])
    @pytest.mark.parametrize("where", ["top", "message", "tool", "metadata"])
    def test_keys_are_text_as_well_and_judged(self, line, model, key, where):
        before = len(model.received)
        body: dict[str, Any] = {"model": "real", "messages": [{"role": "user", "content": "hi"}]}
        match where:
            case "top":
                body[key] = 1
            case "message":
                body["messages"][0][key] = 1
            case "tool":
                body["tools"] = [
                    {"type": "function", "function": {"name": "f", "parameters": {"properties": {key: {}}}}}
                ]
            case _:
                body["metadata"] = {key: "x"}
        answered = line.holds(CHAT, json.dumps(body).encode())
        assert answered.finish == "content_filter"
        assert model.received[before:] == []


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=30)
    | st.sampled_from(["forbidden-word", "ask-a-human", "zoe@mail.example", "<EMAIL_ADDRESS_1>", "text", "user"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
KNOWN = st.sampled_from([*FULL_CHAT, "functions", "audio", "modalities", "prediction", "gateway", "x"])
QUIET = settings(
    max_examples=150, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.mark.slow
class TestAnything:
    @QUIET
    @given(fields=st.dictionaries(KNOWN, JSON, max_size=6), stream=st.booleans())
    @example(fields={"stop": [{"a": "forbidden-word"}], "tools": [1, None, "x"]}, stream=True)
    def test_any_fields_beside_a_good_question(self, line, fields, stream):
        body = {"model": "real", "messages": [{"role": "user", "content": "hi"}], "stream": stream, **fields}
        line.holds(CHAT, json.dumps(body).encode())

    @QUIET
    @given(
        messages=st.lists(JSON | st.fixed_dictionaries({"role": st.sampled_from(["user", "tool"]), "content": JSON}))
    )
    def test_any_messages(self, line, messages):
        line.holds(CHAT, json.dumps({"model": "real", "messages": messages}).encode())

    @QUIET
    @given(data=st.binary(max_size=200))
    def test_any_bytes(self, line, data):
        assert line.holds(CHAT, data).status != 200

    @QUIET
    @given(cut=st.integers(min_value=0, max_value=len(json.dumps(FULL_CHAT)) - 1))
    def test_a_body_cut_short_anywhere(self, line, cut):
        assert line.holds(CHAT, json.dumps(FULL_CHAT).encode()[:cut]).status == 400

    @QUIET
    @given(body=JSON)
    def test_any_body_for_embeddings(self, line, body):
        line.holds("/v1/embeddings", json.dumps(body).encode())

    @QUIET
    @given(path=st.text(st.characters(codec="utf-8"), max_size=20), method=st.sampled_from(["GET", "POST", "PUT"]))
    def test_any_path(self, line, path, method):
        assume("/v1/" + path not in ("/v1/models", CHAT, "/v1/embeddings"))
        quoted = "".join(c if c in string.ascii_letters else "".join(f"%{b:02x}" for b in c.encode()) for c in path)
        answered = line.request(method, f"/v1/{quoted}")
        assert answered.status in (404, 405)
        error_of(answered)


def test_in_error_mode_the_same_holds(gateway: RunningGateway):
    line = Line(Caller(gateway, app=STRICT_APP))
    for stream in ("true", "false"):
        for content in ('"hi"', '"a forbidden-word"', '"ask-a-human"', "[]", "[{}]", "null", '"\\u0000"'):
            body = f'{{"model":"real","stream":{stream},"messages":[{{"role":"user","content":{content}}}]}}'
            line.holds(CHAT, body.encode())
    line.close()
