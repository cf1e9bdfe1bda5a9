import json

import pytest

from gateway.enforce.holding import HeldAnswer

HEAD = {"id": "u", "object": "chat.completion.chunk", "created": 1, "model": "m"}


def chunk(index: int, delta: dict, finish: str | None = None) -> dict:
    return {**HEAD, "choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


def held(*chunks: dict) -> list[dict]:
    answer = HeldAnswer()
    for one in chunks:
        answer.add(one)
    return answer.body["choices"]


@pytest.mark.parametrize(
    ("chunks", "message", "finish"),
    [
        (
            [chunk(0, {"role": "assistant", "content": "a"}), chunk(0, {"content": "b"}, "stop")],
            {"content": "ab"},
            "stop",
        ),
        ([chunk(0, {"role": "assistant"}), chunk(0, {"role": "assistant", "content": "a"})], {"content": "a"}, "stop"),
        (
            [chunk(0, {"reasoning_content": "r1"}), chunk(0, {"reasoning_content": "r2", "content": None}, "length")],
            {"content": None, "reasoning_content": "r1r2"},
            "length",
        ),
        (
            [
                chunk(0, {"function_call": {"name": "f", "arguments": "{"}}),
                chunk(0, {"function_call": {"arguments": "}"}}),
            ],
            {"content": None, "function_call": {"name": "f", "arguments": "{}"}},
            "stop",
        ),
    ],
)
def test_chunks_become_the_answer_that_did_not_stream(chunks, message, finish) -> None:
    (choice,) = held(*chunks)
    assert choice == {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}


def test_choices_and_calls_that_are_mixed_come_apart() -> None:
    def call(place: int, name: str = "", arguments: str = "") -> dict:
        function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value}
        return {"tool_calls": [{"index": place, "function": function}]}

    choices = held(
        chunk(1, call(0, "one", "{")),
        chunk(0, {"content": "x"}),
        chunk(1, call(1, "two", "{}")),
        chunk(1, call(0, "", "}")),
    )
    assert [choice["message"].get("content") for choice in choices] == ["x", None]
    assert [one["function"] for one in choices[1]["message"]["tool_calls"]] == [
        {"name": "one", "arguments": "{}"},
        {"name": "two", "arguments": "{}"},
    ]


def test_a_whole_answer_is_kept_as_it_is_without_its_cost() -> None:
    answer = HeldAnswer()
    body = {"id": "u", "choices": [{"index": 0, "message": {"content": "canary", "extra": [1]}}], "usage": {"x": 1}}
    answer.take(body)
    assert json.loads(answer.encoded()) == {key: value for key, value in body.items() if key != "usage"}
    assert "canary" not in repr(answer)
