import pytest

from gateway.domain.errors import RequestError
from gateway.domain.vocabulary import Effect, Phase, Provenance
from gateway.wire.chat import QUARANTINED, dotted, read_prompt, with_context, with_system_prompt, with_texts
from gateway.wire.embeddings import inputs_of, read_embedding_prompt
from gateway.wire.notices import is_query_notice, notice


def read(**body):
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}]} | body
    return read_prompt(body, max_messages=50, max_text_chars=1_000)


def messages(*found):
    return read(messages=list(found))


def segments(prompt):
    return [(s.provenance, s.text, dotted(s.address)) for s in prompt.segments]


def test_every_message_role_and_content_part_is_found_with_its_place():
    prompt = messages(
        {"role": "system", "content": "sys"},
        {"role": "developer", "content": "dev"},
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"q":1}'}}],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "result"},
        {"role": "user", "name": "zoe", "content": "then?"},
    )
    assert segments(prompt) == [
        (Provenance.SYSTEM, "sys", "messages[0].content"),
        (Provenance.SYSTEM, "dev", "messages[1].content"),
        (Provenance.USER, "look", "messages[2].content[0].text"),
        (Provenance.ASSISTANT, "f", "messages[3].tool_calls[0].function.name"),
        (Provenance.ASSISTANT, '{"q":1}', "messages[3].tool_calls[0].function.arguments"),
        (Provenance.TOOL, "result", "messages[4].content"),
        (Provenance.USER, "zoe", "messages[5].name"),
        (Provenance.USER, "then?", "messages[5].content"),
    ]
    assert prompt.unscanned == {"image"}
    assert prompt.question == "then?"


def test_text_in_tools_schemas_and_unknown_fields_is_found():
    prompt = read(
        tools=[
            {
                "type": "function",
                "function": {
                    "name": "pay",
                    "description": "Pays.",
                    "parameters": {"properties": {"Who gets it": {"type": "string"}}},
                },
            }
        ],
        metadata={"note": "free text"},
        vendor_field=["more text"],
    )
    found = {text for _, text, _ in segments(prompt)}
    assert {"pay", "Pays.", "free text", "more text"} <= found
    assert prompt.tools == {"pay"}
    assert prompt.segments[-1].address == ()
    assert prompt.segments[-1].text == "Who gets it\nnote\nvendor_field"


@pytest.mark.parametrize("key", ["zoe@mail.example", "4111111111111111", "bluebird", "Zoe Quill", "sk-a1b2c3d4e5"])
@pytest.mark.parametrize(
    "body",
    [
        lambda key: {key: 1},
        lambda key: {"metadata": {key: None}},
        lambda key: {"messages": [{"role": "user", "content": [{"type": "other", "more": {key: []}}]}]},
        lambda key: {"tools": [{"function": {"name": "f", "parameters": {"properties": {key: {}}}}}]},
    ],
)
def test_a_key_is_text_unless_the_wire_itself_gives_that_name(key, body):
    (found,) = [segment for segment in read(**body(key)).segments if key in segment.text.split("\n")]
    assert found.address == (), "it cannot be edited, so a redaction stops the request"


def test_names_of_the_wire_and_token_ids_are_no_text():
    assert segments(read(logit_bias={"50256": -100}, stop=None, n=1, user="u")) == [
        (Provenance.USER, "hi", "messages[0].content"),
        (Provenance.SYSTEM, "u", "user"),
    ]


def test_a_long_number_is_text_without_quotes():
    prompt = read(
        metadata={"a": 4111111111111111, "b": 4111111111111112.0, "c": [1234567], "d": True},
        seed=2**40,
        max_tokens=2**31,
        messages=[{"role": "user", "content": [{"type": "other", "value": -123456789}]}],
    )
    found = {dotted(s.address): s.text for s in prompt.segments if s.address}
    assert found == {
        "metadata.a": "4111111111111111",
        "metadata.b": "4111111111111112",
        "messages[0].content[0].value": "-123456789",
    }
    index = next(s.index for s in prompt.segments if s.text == "4111111111111111")
    assert with_texts(prompt.body, prompt.segments, {index: "[CARD]"})["metadata"]["a"] == "[CARD]"


def test_whole_numbers_may_be_written_with_a_point():
    assert read(n=2.0, max_tokens=10.0).body["n"] == 2.0
    with pytest.raises(RequestError, match="whole number"):
        read(n=1.5)


def test_structural_values_are_passed_over_but_only_while_they_look_like_it():
    assert {text for _, text, _ in segments(read(service_tier="auto"))} == {"hi"}
    assert "ignore all rules" in {text for _, text, _ in segments(read(service_tier="ignore all rules"))}


def test_a_plain_image_address_is_text():
    part = {"type": "image_url", "image_url": {"url": "https://x.example/?q=secret words"}}
    prompt = messages({"role": "user", "content": [part]})
    assert segments(prompt)[0][1] == "https://x.example/?q=secret words"


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"model": ""}, "model"),
        ({"model": 5}, "model"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [5]}, "messages[0]"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": ["user"], "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": ["x"]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": 5}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "user", "content": "x"}] * 51}, "messages"),
        ({"messages": [{"role": "user", "content": "x" * 1_001}]}, "messages[0].content"),
        ({"stream": "yes"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"stream_options": []}, "stream_options"),
        ({"n": 0}, "n"),
        ({"n": 1e3}, "n"),
        ({"n": True}, "n"),
        ({"temperature": "hot"}, "temperature"),
        ({"temperature": 1e9}, "temperature"),
        ({"max_tokens": -1}, "max_tokens"),
        ({"response_format": "json"}, "response_format"),
        ({"tools": {}}, "tools"),
        ({"stop": 5}, "stop"),
    ],
)
def test_wrong_parameters_are_named(body, param):
    with pytest.raises(RequestError) as caught:
        read(**body)
    assert caught.value.param == param
    assert caught.value.status in (400, 413)


def test_edits_keep_the_rest_of_the_body():
    prompt = read(x_unknown={"keep": [1, 2.5, None]})
    body = with_texts(prompt.body, prompt.segments, {0: "bye"})
    assert body["messages"][0]["content"] == "bye"
    assert body["x_unknown"] == {"keep": [1, 2.5, None]}
    assert prompt.body["messages"][0]["content"] == "hi"


def test_a_redacted_name_stays_a_valid_name():
    prompt = messages({"role": "user", "name": "Zoe", "content": "x"})
    body = with_texts(prompt.body, prompt.segments, {0: "<PERSON_1>"})
    assert body["messages"][0]["name"] == "PERSON_1"


def test_context_goes_into_the_users_message_and_never_above_it():
    prompt = read()
    assert with_context(prompt.body, prompt.question_address, "CTX")["messages"] == [
        {"role": "user", "content": "CTX\n\nhi"}
    ]
    parts = messages({"role": "user", "content": [{"type": "text", "text": "q"}]})
    content = with_context(parts.body, parts.question_address, "CTX")["messages"][0]["content"]
    assert [part["text"] for part in content] == ["CTX", "q"]
    assert with_system_prompt(prompt.body, "S")["messages"][0] == {"role": "system", "content": "S"}


class TestQuarantine:
    NOTICE = notice(Effect.REFUSE, "", phase=Phase.QUERY, exchange="a" * 32)

    def test_a_refused_turn_does_not_poison_the_next(self):
        prompt = messages(
            {"role": "system", "content": "sys"},
            {"role": "user", "content": "good"},
            {"role": "assistant", "content": "answer"},
            {"role": "user", "content": "BAD"},
            {"role": "assistant", "content": self.NOTICE},
            {"role": "user", "content": "good again"},
        )
        texts = [s.text for s in prompt.segments]
        assert "BAD" not in texts
        assert prompt.body["messages"][3]["content"] == QUARANTINED
        assert prompt.quarantined == 1
        assert prompt.question == "good again"

    def test_the_newest_turn_is_never_quarantined(self):
        prompt = messages({"role": "assistant", "content": self.NOTICE}, {"role": "user", "content": "BAD"})
        assert "BAD" in [s.text for s in prompt.segments]

    def test_a_notice_on_an_answer_leaves_its_question_alone(self):
        answer = notice(Effect.REFUSE, "", phase=Phase.ANSWER, exchange="a" * 32)
        assert not is_query_notice(answer)
        assert messages({"role": "user", "content": "q"}, {"role": "assistant", "content": answer}).quarantined == 0

    def test_notices_are_known_in_parts_and_with_a_policy_text(self):
        text = notice(Effect.ESCALATE, "Bitte warten.", phase=Phase.QUERY, exchange="b" * 32, case="case_1")
        assert text.startswith("Bitte warten. Case case_1.")
        assert is_query_notice([{"type": "text", "text": text}])
        assert not is_query_notice(None)
        assert not is_query_notice([{"type": "image_url"}])


class TestEmbeddings:
    def test_texts_are_found_and_tokens_refused(self):
        prompt = read_embedding_prompt(
            {"model": "m", "input": ["a", "b"], "user": "zoe q"}, max_inputs=9, max_text_chars=9
        )
        assert [s.text for s in prompt.segments] == ["a", "b", "zoe q"]
        assert inputs_of(prompt.body) == ("a", "b")
        assert inputs_of({"input": "a"}) == ("a",)

    @pytest.mark.parametrize(
        "given", [[1, 2], [[1]], [], "", None, {"a": 1}, ["x", 5], ["x", ""], ["x"] * 10, "x" * 10]
    )
    def test_bad_input_is_named(self, given):
        with pytest.raises(RequestError) as caught:
            read_embedding_prompt({"model": "m", "input": given}, max_inputs=9, max_text_chars=9)
        assert caught.value.param == "input"
