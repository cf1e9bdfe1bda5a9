"""What users of client libraries see when only the address and the key have changed."""

import json

import pytest
from driven_client import Result
from support.server import as_chunks, completion
from support.wire import STRICT_APP

# The first test that needs a library installs it.
pytestmark = [pytest.mark.clients, pytest.mark.timeout(600)]

STREAMS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
OPENAI = ("openai-newest", "openai-2025")
KEEPS_UNKNOWN_FIELDS = (*OPENAI, "llamaindex")
SHOWS_HEADERS = (*OPENAI, "langchain")
SEND = {
    "type": "function",
    "function": {
        "name": "send",
        "description": "Sends a letter",
        "parameters": {"type": "object", "properties": {"to": {"type": "string"}}},
    },
}


def succeeded(result: Result) -> Result:
    assert result.error is None
    return result


def decision_of(user, result):
    """The decision as this library shows it, wherever it keeps it."""
    if user.name in KEEPS_UNKNOWN_FIELDS:
        assert result.gateway is not None
        return result.gateway["decision"]
    return result.headers["x-gateway-decision"]


@STREAMS
def test_an_answer_arrives_unchanged_and_leads_to_its_record(user, model, stream):
    model.answer = lambda body: completion("Hello there. How are you?")
    result = succeeded(user.chat(stream=stream))
    assert result.text == "Hello there. How are you?"
    assert result.finish == "stop"
    if user.name == "langchain" and stream:
        assert result.headers["x-gateway-audit-id"] == user.exchange, "LangChain gives streams an id of its own"
    else:
        assert result.id == f"chatcmpl-{user.exchange}"
    assert decision_of(user, result) == "allow"
    assert user.requests == 1
    assert [event["type"] for event in user.events] == (
        ["intent", "stream.open", "stream.close"] if stream else ["intent", "outcome"]
    )
    if stream:
        assert result.parts > 1
    else:
        assert result.total_tokens == 12


@STREAMS
def test_personal_data_stays_here_and_comes_back(user, model, stream):
    model.answer = lambda body: completion("I wrote to <EMAIL_ADDRESS_1> today.")
    result = succeeded(user.chat("mail zoe@mail.example please", stream=stream))
    assert result.text == "I wrote to zoe@mail.example today."
    assert result.finish == "stop"
    assert decision_of(user, result) == "redact"
    assert "zoe@mail.example" not in json.dumps(model.received)


@STREAMS
def test_a_refused_query_reads_once_and_is_no_answer(user, model, stream):
    result = succeeded(user.chat("a forbidden-word", stream=stream))
    assert result.text is not None
    assert result.text.count("I can't help with that request.") == 1
    assert result.text.endswith(f"(reference q-{user.exchange})")
    assert result.finish == "content_filter"
    assert decision_of(user, result) == "refuse"
    assert user.requests == 1
    assert model.received == []


@STREAMS
def test_an_answer_that_turns_bad_ends_with_a_notice(user, model, stream):
    model.answer = lambda body: completion("This much is fine. Now a forbidden-word here. And more.")
    result = succeeded(user.chat(stream=stream))
    assert result.text is not None
    assert result.text.startswith("This much is fine. ")
    assert result.text.endswith(f"(reference a-{user.exchange})")
    assert "forbidden-word" not in result.text
    assert "more" not in result.text
    assert result.finish == "content_filter"
    assert user.requests == 1


@STREAMS
def test_a_query_for_a_human_names_its_case(user, model, stream):
    result = succeeded(user.chat("please ask-a-human", stream=stream))
    case = _case_of(user)
    assert result.text is not None
    assert result.text.count(case) == 1
    assert result.finish == "content_filter"
    assert decision_of(user, result) == "escalate"
    assert user.requests == 1
    assert model.received == []


@STREAMS
@pytest.mark.parametrize(
    ("content", "status", "code"),
    [("a forbidden-word", 400, "content_filter"), ("please ask-a-human", 403, "human_review_required")],
)
def test_in_error_mode_a_stop_is_a_typed_error_and_one_call(user, model, stream, content, status, code):
    error = user.chat(content, stream=stream, app=STRICT_APP).error
    assert error is not None
    assert {400: "BadRequestError", 403: "PermissionDeniedError"}[status] in error.types
    assert (error.status, error.code) == (status, code)
    assert user.exchange in error.message
    assert user.requests == 1
    assert model.received == []


def test_in_error_mode_a_stopped_answer_is_a_typed_error_and_one_call(user, model):
    model.answer = lambda body: completion("A forbidden-word.")
    error = user.chat(stream=False, app=STRICT_APP).error
    assert error is not None
    assert "BadRequestError" in error.types
    assert (error.status, error.code) == (400, "content_filter")
    assert "forbidden-word" not in error.message
    assert user.requests == 1
    assert len(model.received) == 1


@STREAMS
def test_a_gateway_that_cannot_record_answers_503_without_inviting_retries(user_of_unrecorded, model, stream):
    user = user_of_unrecorded
    error = user.chat(stream=stream).error
    assert error is not None
    assert "InternalServerError" in error.types
    assert (error.status, error.code) == (503, "guard_unavailable")
    assert model.received == []
    if user.name == "llamaindex" and not stream:
        assert user.requests <= 4, "its own retries do not read the header, but those of `openai` below it do"
    else:
        assert user.requests == 1


@STREAMS
def test_tool_calls_get_their_values_back(user, model, stream):
    call = {"id": "c1", "type": "function", "function": {"name": "send", "arguments": '{"to": "<EMAIL_ADDRESS_1>"}'}}
    model.answer = lambda body: completion(None, finish="tool_calls", tool_calls=[call])
    result = succeeded(user.chat("mail zoe@mail.example", stream=stream, tools=[SEND]))
    assert result.calls == [("send", {"to": "zoe@mail.example"})]
    assert result.finish == "tool_calls"
    assert model.received[0]["tools"][0]["function"]["name"] == "send"
    assert "zoe@mail.example" not in json.dumps(model.received)


@STREAMS
def test_a_tool_call_with_a_stopped_argument_never_arrives(user, model, stream):
    call = {"id": "c1", "type": "function", "function": {"name": "send", "arguments": '{"to": "forbidden-word"}'}}
    model.answer = lambda body: completion(None, finish="tool_calls", tool_calls=[call])
    result = succeeded(user.chat("send it", stream=stream, tools=[SEND]))
    assert result.calls == []
    assert result.finish == "content_filter"
    assert result.text is not None
    assert result.text.count("(reference a-") == 1


@STREAMS
def test_a_tool_result_goes_back_with_its_values_replaced(user, model, stream):
    call = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"who": "Zoe"}'}}
    messages = [
        {"role": "user", "content": "Where does Zoe read mail?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": '{"mail": "zoe@mail.example"}'},
    ]
    model.answer = lambda body: completion("At <EMAIL_ADDRESS_1>.")
    result = succeeded(user.chat(messages, stream=stream))
    assert result.text == "At zoe@mail.example."
    sent = model.received[0]["messages"]
    assert sent[1]["tool_calls"][0]["id"] == sent[2]["tool_call_id"] == "c1"
    assert sent[2]["content"] == '{"mail": "<EMAIL_ADDRESS_1>"}'


@STREAMS
@pytest.mark.parametrize("name", [*OPENAI, "langchain"])
def test_structured_output_is_parsed(user_of, name, model, stream):
    user = user_of(name)
    model.answer = lambda body: completion('{"city": "<EMAIL_ADDRESS_1>", "degrees": 21}')
    result = succeeded(user.structured("the weather at zoe@mail.example", stream=stream))
    assert result.parsed == {"city": "zoe@mail.example", "degrees": 21}
    assert model.received[0]["response_format"]["type"] == "json_schema"


@STREAMS
def test_json_answers_stay_json(user, model, stream):
    model.answer = lambda body: completion('{"to": "<EMAIL_ADDRESS_1>", "card": "4111 1111 1111 1111"}')
    result = succeeded(
        user.chat("mail zoe@mail.example", stream=stream, response_format={"type": "json_object"}),
    )
    assert result.text is not None
    answer = json.loads(result.text)
    assert answer["to"] == "zoe@mail.example"
    assert "4111" not in answer["card"]
    assert model.received[0]["response_format"] == {"type": "json_object"}


@STREAMS
def test_a_stopped_structured_answer_is_told_from_a_parsed_one(user_of, model, stream):
    user = user_of("openai-newest")
    model.answer = lambda body: completion('{"city": "forbidden-word", "degrees": 21}')
    error = user.structured("the weather", stream=stream).error
    assert error is not None
    assert error.types[0] == "ContentFilterFinishReasonError"


@STREAMS
def test_a_refused_turn_does_not_poison_the_conversation(user, model, stream):
    refused = succeeded(user.chat("a forbidden-word", stream=stream))
    messages = [
        {"role": "user", "content": "a forbidden-word"},
        {"role": "assistant", "content": refused.text},
        {"role": "user", "content": "Something harmless."},
    ]
    result = succeeded(user.chat(messages, stream=stream))
    assert (result.text, result.finish) == ("Hello there.", "stop")
    assert "forbidden-word" not in json.dumps(model.received)


def test_usage_at_the_end_of_a_stream_is_that_of_the_model(user, model):
    def with_usage(body):
        assert body["stream_options"] == {"include_usage": True}
        made = as_chunks(completion("Counted words."))
        yield from made
        usage = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
        yield {**made[0], "choices": [], "usage": usage}

    model.answer = with_usage
    result = succeeded(user.chat(stream=True, stream_options={"include_usage": True}))
    assert result.text == "Counted words."
    assert result.total_tokens == 7


def test_usage_of_a_refused_stream_is_nothing(user, model):
    result = succeeded(user.chat("a forbidden-word", stream=True, stream_options={"include_usage": True}))
    assert result.total_tokens == 0
    assert model.received == []


@STREAMS
@pytest.mark.parametrize("name", [*OPENAI, "langchain"])
def test_several_choices_are_judged_each_for_itself(user_of, name, model, stream):
    if name == "langchain" and stream:
        pytest.skip("LangChain streams one choice only")
    user = user_of(name)
    texts = ["The first one.", "A forbidden-word."]

    def two(body):
        bodies = [completion(text) for text in texts]
        for index, made in enumerate(bodies):
            made["choices"][0]["index"] = index
        if not body.get("stream"):
            return {**bodies[0], "choices": [made["choices"][0] for made in bodies]}
        streams = [as_chunks(made) for made in bodies]
        for index, chunks in enumerate(streams):
            for chunk in chunks:
                chunk["choices"][0]["index"] = index
        return [chunk for pair in zip(*streams, strict=False) for chunk in pair] + [
            chunk for chunks in streams for chunk in chunks[min(map(len, streams)) :]
        ]

    model.answer = two
    result = succeeded(user.chat(stream=stream, n=2))
    assert model.received[0]["n"] == 2
    assert len(result.texts) == 2
    assert result.texts[0] == "The first one."
    assert result.texts[1] is not None
    assert result.texts[1].endswith(f"(reference a-{user.exchange})")


@STREAMS
def test_log_probabilities_come_with_the_text_they_belong_to(user, model, stream):
    tokens = ["Hello", " there", ".", " Fine", "."]

    def entry(token):
        alone = {"token": token, "logprob": -0.5, "bytes": list(token.encode())}
        return {**alone, "top_logprobs": [alone]}

    def answer(body):
        whole = completion("".join(tokens))
        if not body.get("stream"):
            whole["choices"][0]["logprobs"] = {"content": [entry(t) for t in tokens], "refusal": None}
            return whole
        first, *_, last = as_chunks(whole)
        middle = [
            {
                **first,
                "choices": [
                    {
                        "index": 0,
                        "delta": {"content": token},
                        "logprobs": {"content": [entry(token)], "refusal": None},
                        "finish_reason": None,
                    }
                ],
            }
            for token in tokens
        ]
        return [first, *middle, last]

    model.answer = answer
    result = succeeded(user.chat(stream=stream, logprobs=True))
    assert result.text == "Hello there. Fine."
    if user.name == "llamaindex" and stream:
        assert result.tokens is None, "LlamaIndex has no place for them in a stream"
    else:
        assert result.tokens == tokens
    assert model.received[0]["logprobs"] is True


@STREAMS
def test_log_probabilities_of_text_that_was_changed_do_not_leave(user, model, stream):
    whole = completion("Card 4111 1111 1111 1111.")
    logprobs = {"content": [{"token": "Card 4111 1111 1111 1111.", "logprob": -1.0, "bytes": None, "top_logprobs": []}]}

    def answer(body):
        if not body.get("stream"):
            return {**whole, "choices": [{**whole["choices"][0], "logprobs": logprobs}]}
        chunks = as_chunks(whole, size=100)
        chunks[1]["choices"][0]["logprobs"] = logprobs
        return chunks

    model.answer = answer
    result = succeeded(user.chat(stream=stream, logprobs=True))
    assert result.text is not None
    assert "4111" not in result.text
    assert result.tokens is None


@STREAMS
def test_unknown_fields_pass_both_ways(user, model, stream):
    def answer(body):
        whole = completion("Hello there.")
        if not body.get("stream"):
            return {**whole, "x_top": {"kept": [1, None]}}
        return [{**chunk, "x_top": {"kept": [1, None]}} for chunk in as_chunks(whole)]

    model.answer = answer
    result = succeeded(user.chat(stream=stream, extra={"x_sent": {"kept": [2.5, True]}}))
    assert model.received[0]["x_sent"] == {"kept": [2.5, True]}
    assert result.text == "Hello there."
    if user.name in KEEPS_UNKNOWN_FIELDS:
        assert result.unknown == {"kept": [1, None]}


def test_a_stream_that_breaks_off_raises(user, model):
    def broken(body):
        yield from as_chunks(completion("Half of an answer that"))[:-1]

    model.answer = broken
    result = user.chat(stream=True)
    assert result.error is not None
    assert "APIError" in result.error.types
    assert result.finish is None
    assert [event["type"] for event in user.events][-1] == "stream.close"


@STREAMS
def test_an_unknown_model_is_a_typed_error(user, model, stream):
    error = user.chat(stream=stream, model="no-such-model").error
    assert error is not None
    assert "NotFoundError" in error.types
    assert (error.status, error.code) == (404, "model_not_found")
    assert user.requests == 1
    assert model.received == []


@STREAMS
@pytest.mark.parametrize("name", SHOWS_HEADERS)
def test_headers_tell_the_decision_too(user_of, name, model, stream):
    user = user_of(name)
    result = succeeded(user.chat("a forbidden-word", stream=stream))
    assert result.headers["x-gateway-decision"] == "refuse"
    assert result.headers["x-gateway-rules"] == "T-003"
    assert result.headers["x-gateway-audit-id"] == user.exchange


@STREAMS
def test_the_built_in_model_quotes_with_citations(user_of, model, stream):
    user = user_of("openai-newest")
    result = succeeded(
        user.chat("What does closing a savings account cost?", stream=stream, model="extractive"),
    )
    assert result.text is not None
    assert "Closing a savings account in its first year costs 25 pounds [1]." in result.text
    assert result.finish == "stop"
    assert result.gateway is not None
    (citation,) = [cited for cited in result.gateway["citations"] if cited["number"] == 1]
    assert citation["source"] == "handbook/savings/fees"
    assert model.received == []


@pytest.mark.parametrize("name", OPENAI)
class TestOtherRoutes:
    def test_models_are_listed_and_looked_up(self, user_of, name):
        user = user_of(name)
        assert user.call("models") == ["real", "extractive", "all-minilm-l6-v2"]
        assert user.call("model", name="real") == "real"
        missing = user.call("model", name="no-such-model")["error"]
        assert (missing["types"][0], missing["code"]) == ("NotFoundError", "model_not_found")

    @pytest.mark.parametrize("encoding", [None, "float", "base64"])
    def test_embeddings_have_the_length_of_the_model(self, user_of, name, encoding):
        result = succeeded(user_of(name).embeddings("one", "two", encoding=encoding))
        one, two = result.parsed
        assert len(one) == len(two) == 384
        assert one != two

    def test_a_refused_embedding_is_a_typed_error_and_one_call(self, user_of, name):
        user = user_of(name)
        error = user.embeddings("fine", "a forbidden-word").error
        assert error is not None
        assert (error.types[0], error.code) == ("BadRequestError", "content_filter")
        assert user.requests == 1


def _case_of(user):
    (outcome,) = [json.loads(event["body"]) for event in user.events if event["type"] == "outcome"]
    return outcome["case"]
