"""Requests made from the OpenAPI document, right and wrong ones, are answered as the document says."""

from collections.abc import Iterator

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from support.wire import STRICT_APP, Caller

from gateway.edge.openapi import openapi_document

schema = schemathesis.openapi.from_dict(openapi_document())
ROUTES = {operation.ok().path for operation in schema.get_all_operations()}
GREETING = [{"role": "user", "content": "hi"}]
SECRET = [{"role": "user", "content": "a forbidden-word"}]
DELICATE = [{"role": "user", "content": "ask-a-human"}]


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as session:
        yield session


def key_of(caller):
    return {"Authorization": f"Bearer {caller.key}"}


@pytest.mark.slow
@schema.parametrize()
@settings(max_examples=120, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
def test_every_answer_is_one_that_the_document_tells_of(case, gateway, caller, session):
    if isinstance(case.body, dict) and isinstance(case.body.get("model"), str) and case.body["model"]:
        case.body["model"] = "all-minilm-l6-v2" if case.path == "/v1/embeddings" else "real"
    case.call_and_validate(base_url=gateway.url, headers=key_of(caller), session=session)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("app", ["desk", STRICT_APP])
@pytest.mark.parametrize("messages", [GREETING, SECRET, DELICATE])
def test_stops_are_answers_of_the_document_too(gateway, session, messages, app, stream):
    operation = schema["/v1/chat/completions"]["POST"]
    body = {"model": "real", "messages": messages, "stream": stream, "stream_options": {"include_usage": True}}
    case = operation.Case(body=body, media_type="application/json")
    caller = Caller(gateway, app=app)
    response = case.call(base_url=gateway.url, headers=key_of(caller), session=session)
    case.validate_response(response)
    assert response.status_code in (200, 400, 403)


async def test_the_document_that_is_served_is_the_one_under_test(caller):
    answered = await caller.send("/openapi.json")
    assert answered.body == openapi_document()


async def test_every_route_of_the_document_says_which_method_it_has(caller):
    for path in ROUTES:
        answered = await caller.send(path.format(name="real", case="case_1", exchange="x"), method="DELETE")
        assert answered.status == 405
        assert set(answered.headers["allow"].split(", ")) <= {"GET", "HEAD", "POST"}
        assert answered.body["error"]["code"] == "method_not_allowed"
