import base64

import numpy as np
import pytest
from model_server import model_server, reply

from gateway.domain.errors import UpstreamError
from gateway.domain.text import Secret
from gateway.settings import EmbeddingModelSettings
from gateway.upstream.embeddings import BuiltinEmbeddings, EmbeddingRequest, EmbeddingRouter, OpenAiEmbeddings


class FakeEmbedder:
    name, version, dimensions = "fake", "1", 2

    def embed(self, texts):
        return np.array([[len(text), 1] for text in texts], dtype=np.float32)


def request(*inputs, **body):
    return EmbeddingRequest(model="e", body={"model": "e", "input": list(inputs), **body}, inputs=inputs, exchange="ex")


BUILTIN = BuiltinEmbeddings("e", FakeEmbedder())


async def test_builtin_answers_in_the_wire_shape():
    answer = await BUILTIN.embed(request("ab", "abc, d"))
    assert answer.body == {
        "object": "list",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [2.0, 1.0]},
            {"object": "embedding", "index": 1, "embedding": [6.0, 1.0]},
        ],
        "model": "e",
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }
    assert (answer.provider, answer.model) == ("builtin", "fake")


async def test_builtin_base64_is_little_endian_float32():
    answer = await BUILTIN.embed(request("ab", encoding_format="base64", dimensions=2))
    raw = base64.b64decode(answer.body["data"][0]["embedding"])
    assert np.frombuffer(raw, "<f4").tolist() == [2.0, 1.0]


@pytest.mark.parametrize("body", [{"encoding_format": "int8"}, {"encoding_format": 5}, {"dimensions": 3}])
async def test_builtin_refuses_what_it_cannot_do(body):
    with pytest.raises(UpstreamError) as caught:
        await BUILTIN.embed(request("a", **body))
    assert (caught.value.status, caught.value.code) == (400, "unsupported")


async def test_builtin_refuses_token_lists():
    with pytest.raises(UpstreamError, match="input"):
        await BUILTIN.embed(request())


async def test_openai_passes_the_body_on():
    sent = {"object": "list", "data": [{"embedding": [0.5]}], "usage": {"total_tokens": 1}, "x": 1}
    async with model_server([reply({}, status="500 No")], [reply(sent)]) as server:
        settings = EmbeddingModelSettings(name="e", provider="openai", base_url=server.base_url, upstream_model="real")
        model = OpenAiEmbeddings(settings, Secret("k"))
        answer = await model.embed(request("a", user="u"))
        await model.close()
    assert answer.body == sent
    assert server.seen[1].path == "/v1/embeddings"
    assert server.seen[1].body == {"model": "real", "input": ["a"], "user": "u"}
    assert server.seen[1].headers["authorization"] == "Bearer k"


async def test_openai_reply_without_embeddings():
    async with model_server([reply({"object": "list"})]) as server:
        settings = EmbeddingModelSettings(name="e", provider="openai", base_url=server.base_url)
        model = OpenAiEmbeddings(settings, None)
        with pytest.raises(UpstreamError) as caught:
            await model.embed(request("a"))
        await model.close()
    assert caught.value.code == "upstream_malformed"


async def test_router_knows_its_names():
    router = EmbeddingRouter({"e": BUILTIN})
    assert router.names == ("e",)
    assert (await router.embed(request("a"))).provider == "builtin"
    with pytest.raises(UpstreamError) as caught:
        await router.embed(EmbeddingRequest(model="other", body={}, inputs=("a",)))
    assert (caught.value.status, caught.value.code) == (404, "model_not_found")
