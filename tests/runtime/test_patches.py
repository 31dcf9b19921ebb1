"""What our patches do with settings: prefixes, sizes, keys, and contexts smaller than the model's.

What they do with requests is in the contract.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.contract.checks.errors import assert_refused
from tests.contract.checks.inputs import SAME_QUANTISED, token_array
from tests.support.client import Client, Input, vectors
from tests.support.containers import (
    base_url,
    inspect,
    logs,
    started,
    wait_for_end,
    wait_for_health,
    with_model,
)
from tests.support.vectors import cosine, truncate
from tools.facts.models import load_models
from tools.serving.profile import booted
from tools.weights.hub import models_dir
from tools.weights.synthetic import ensure_synthetic

MODELS = load_models()
QUERY, DOCUMENT = MODELS.query_prefix, MODELS.document_prefix


def options(model: str, **variables: str) -> list[str]:
    """Options of a container that serves a model's tiny weights with these variables set."""
    file = ensure_synthetic(models_dir(), MODELS.models[model], "tiny", "Q8_0")
    pairs = [f"{name}={value}" for name, value in variables.items()]
    return [*with_model(file), *(word for pair in pairs for word in ("--env", pair))]


@contextmanager
def serving(image: str, model: str, **variables: str) -> Iterator[str]:
    """Boot a container outside of compose and yield its address."""
    with started(image, options=options(model, **variables)) as container:
        wait_for_health(container, "healthy")
        yield base_url(container)


def ask(address: str, path: str = "/v1/embeddings", **body: Any) -> httpx.Response:
    return httpx.post(address + path, json=body, timeout=120, trust_env=False)


def test_an_image_alone_knows_prefixes_and_sizes(patched: str) -> None:
    """Its defaults are the prefixes and the sizes that all models share, and the full one."""
    with serving(patched, "small") as address, Client(address) as client:
        query = ask(address, "/query/v1/embeddings", input="a text")
        by_hand = client.embed([f"{QUERY}a text"])
        assert cosine(vectors(query.json()), by_hand).min() >= SAME_QUANTISED
        assert client.embed(["a text"], dimensions=1024).shape == (1, 1024)
        refused = ask(address, input="a text", dimensions=33)
    assert_refused(refused)
    sizes = ", ".join(map(str, [*MODELS.shared_matryoshka, 1024]))
    assert sizes in refused.json()["error"]["message"]


def test_default_dimensions(patched: str) -> None:
    """JINA_DIMENSIONS applies where a request has none."""
    with serving(patched, "nano", JINA_DIMENSIONS="64") as address, Client(address) as client:
        short = client.embed(["a text"])
        full = client.embed(["a text"], dimensions=768)
        assert short.shape == (1, 64)
        assert cosine(short, truncate(full, 64)).min() >= SAME_QUANTISED
        assert client.embed(["a text"], encoding_format="base64").shape == (1, 64)
        assert client.embed(["a text"], dimensions=32).shape == (1, 32)


def test_without_prefixes_a_side_is_refused(patched: str) -> None:
    with serving(patched, "nano", JINA_QUERY_PREFIX="") as address:
        refused = ask(address, input="a text", input_type="query")
        assert ask(address, input="a text", input_type="document").status_code == 200
    assert_refused(refused)
    assert "JINA_QUERY_PREFIX" in refused.json()["error"]["message"]


def test_without_sizes_only_the_full_one_is_served(patched: str) -> None:
    """Cutting the vectors of a model that was not trained for it would ruin them."""
    with serving(patched, "nano", JINA_MATRYOSHKA="") as address:
        assert_refused(ask(address, input="a text", dimensions=64))
        assert ask(address, input="a text", dimensions=768).status_code == 200


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JINA_DIMENSIONS", "lots"),
        ("JINA_DIMENSIONS", "33"),
        ("JINA_MATRYOSHKA", "32,sixty-four"),
        ("JINA_MATRYOSHKA", "32,-64"),
    ],
)
def test_a_wrong_setting_ends_the_server_and_is_named(patched: str, name: str, value: str) -> None:
    with started(patched, options=options("nano", **{name: value})) as container:
        assert wait_for_end(container) == 1
        assert name in logs(container)


def test_sides_have_the_key_and_the_prefix_of_all_routes(patched: str) -> None:
    settings = {"LLAMA_ARG_API_PREFIX": "/here", "LLAMA_API_KEY": "a-secret"}
    with serving(patched, "nano", **settings) as address:
        for side in ("query", "document"):
            path = f"/{side}/v1/embeddings"
            assert ask(address, f"/here{path}", input="a text").status_code == 401
            key = {"Authorization": "Bearer a-secret"}
            body = {"input": "a text"}
            for place, status in ((f"/here{path}", 200), (path, 404)):
                answer = httpx.post(address + place, json=body, headers=key, trust_env=False)
                assert answer.status_code == status


#: Numbers as another tokenizer sends them for a text of seven words.
FOREIGN_TOKENS = [5269, 656, 358, 34596, 264, 16125, 30]


@pytest.mark.parametrize("model", sorted(MODELS.models))
def test_foreign_tokens_are_refused_at_the_full_vocabulary(patched: str, model: str) -> None:
    """There each is a token of the model, too: nothing but the missing end gives them away."""
    file = ensure_synthetic(models_dir(), MODELS.models[model], "wide", "Q8_0")
    with started(patched, options=with_model(file)) as container:
        wait_for_health(container, "healthy")
        answer = ask(base_url(container), input=[FOREIGN_TOKENS])
        with Client(base_url(container)) as client:
            end = client.tokenize("a")[-1]
        by_hand = ask(base_url(container), input=[[*FOREIGN_TOKENS, end]])
    assert by_hand.status_code == 200, "each of them is in the vocabulary"
    assert_refused(answer)
    assert "check_embedding_ctx_length=False" in answer.json()["error"]["message"]


KEYS = "LLAMA_ARG_API_KEY_FILE"


def with_keys(folder: Path, text: str) -> list[str]:
    """Options of a container on nano that has these keys in a file, as a Docker secret is one."""
    folder.chmod(0o755)
    (folder / "keys").write_bytes(text.encode())
    volume = ["--volume", f"{folder}:/run/secrets:ro"]
    return [*options("nano", **{KEYS: "/run/secrets/keys"}), *volume]


def test_keys_come_from_a_file_and_are_not_in_docker_inspect(patched: str, tmp_path: Path) -> None:
    text = "# of the search team\r\nfirst-secret\r\n\r\n  second-secret  \n"
    with started(patched, options=with_keys(tmp_path, text)) as container:
        wait_for_health(container, "healthy")
        address = f"{base_url(container)}/v1/embeddings"
        for key, status in (
            ("first-secret", 200),
            ("second-secret", 200),
            ("# of the search team", 401),
            ("another", 401),
        ):
            headers = {"Authorization": f"Bearer {key}"}
            answer = httpx.post(address, json={"input": "a"}, headers=headers, trust_env=False)
            assert answer.status_code == status, key
        assert "secret" not in json.dumps(inspect(container)["Config"]).replace("/run/secrets", "")


@pytest.mark.parametrize(
    ("text", "said"), [("# nothing but this\n", "has no key"), (None, "cannot read")]
)
def test_a_file_without_keys_ends_the_server(
    patched: str, tmp_path: Path, text: str | None, said: str
) -> None:
    """It would be open to everybody."""
    settings = with_keys(tmp_path, text or "")
    if text is None:
        (tmp_path / "keys").unlink()
    with started(patched, options=settings) as container:
        assert wait_for_end(container) == 1
        assert f"{KEYS}: " in logs(container)
        assert said in logs(container)


@pytest.mark.parametrize("model", sorted(MODELS.models))
def test_the_limit_is_the_context_that_is_set(patched: str, model: str) -> None:
    """What is refused and cut follows the settings; a causal model needs room for one more."""
    context = 512
    limit = context - MODELS.models[model].shape.causal
    sizes = {f"LLAMA_ARG_{name}": str(context) for name in ("CTX_SIZE", "BATCH", "UBATCH")}
    with (
        serving(patched, model, LLAMA_ARG_KV_UNIFIED="1", **sizes) as address,
        Client(address) as client,
    ):
        # Too long, but not at first sight: what is refused by its bytes alone is not counted.
        text = "some words and more " * (context // 3)
        tokens = client.tokenize(text)
        given = {"n_prompt_tokens": len(tokens), "n_ctx": limit}
        refused = ask(address, input=["short", text])
        assert_refused(refused)
        assert refused.json()["error"].items() >= given.items()
        assert "input[1]" in refused.json()["error"]["message"]
        cut = client.embeddings(list[Input]([text, tokens, "short"]), truncate=True)
        assert [item["truncated"] for item in cut["data"]] == [True, True, False]
        by_hand = client.embed([[*tokens[: limit - 1], tokens[-1]]])
        assert cosine(vectors(cut)[:2], np.repeat(by_hand, 2, axis=0)).min() >= SAME_QUANTISED
        assert ask(address, input=[[*tokens[: limit - 1], tokens[-1]]]).status_code == 200
        assert_refused(ask(address, input=[[*tokens[:limit], tokens[-1]]]))


def test_smalls_context_is_one_variable_of_compose(patched: str) -> None:
    """JINA_SMALL_CONTEXT, which saves memory: one input may have a token less than it."""
    small, context = MODELS.models["small"], 768
    file = ensure_synthetic(models_dir(), small, "tiny", "Q8_0")
    variables = {"JINA_SMALL_CONTEXT": str(context)}
    with (
        booted(small, file, image=patched, synthetic=True, variables=variables) as running,
        Client(running.base_url) as client,
    ):
        word = client.tokenize("words", add_special=False)[0]
        end = client.tokenize("words")[-1]
        assert client.embed([[*[word] * (context - 2), end]]).shape == (1, small.dims)
        refused = ask(running.base_url, input=[[*[word] * (context - 1), end]])
        assert_refused(refused)
        given = {"n_prompt_tokens": context, "n_ctx": context - 1}
        assert refused.json()["error"].items() >= given.items()


@pytest.mark.parametrize("batch", [1024, 128])
def test_long_inputs_share_the_context_without_an_error(batch: int, patched: str) -> None:
    """Together they are far more than the context; each waits for its turn, and none is lost.

    In small batches a slot is looked at seldom: what it holds of its last input is then in the
    way of those that start.
    """
    generator = np.random.default_rng(0)
    sizes = {
        "LLAMA_ARG_CTX_SIZE": "1024",
        **{f"LLAMA_ARG_{name}": str(batch) for name in ("BATCH", "UBATCH")},
    }
    with (
        serving(
            patched, "small", LLAMA_ARG_KV_UNIFIED="1", LLAMA_ARG_N_PARALLEL="8", **sizes
        ) as address,
        Client(address) as client,
    ):
        words = client.tokenize("kernel container memory limit process", add_special=False)
        lengths = [1000, 20, 700, 700, 1000, 20, 20, 500, 300, 100, 150, 600]
        end = client.tokenize("kernel")[-1:]
        inputs = [generator.choice(words, length).tolist() + end for length in lengths]
        alone = np.concatenate([client.embed([each]) for each in inputs])
        together = client.embed(inputs)
        with ThreadPoolExecutor(len(inputs)) as pool:
            answers = list(pool.map(lambda each: ask(address, input=[each]), inputs * 6))
    assert cosine(together, alone).min() >= SAME_QUANTISED
    assert [answer.status_code for answer in answers] == [200] * len(answers)
    apart = np.concatenate([vectors(answer.json()) for answer in answers])
    assert cosine(apart, np.concatenate([alone] * 6)).min() >= SAME_QUANTISED


@pytest.mark.parametrize(
    ("lengths", "batches"),
    [
        ([128] * 8, 1),  # 1024 tokens
        ([128] * 16, 2),
        ([2000], 1),
        ([2000, 16, 16], 2),
        ([16, 2000, 16], 3),  # one that came later does not go first because it is short
    ],
    ids=str,
)
def test_a_cpu_works_on_about_a_thousand_tokens_together(
    lengths: list[int], batches: int, patched: str
) -> None:
    sizes = {f"LLAMA_ARG_{name}": "8192" for name in ("CTX_SIZE", "BATCH", "UBATCH")}
    flags = {f"LLAMA_ARG_{name}": "1" for name in ("KV_UNIFIED", "ENDPOINT_METRICS")}
    settings = {"LLAMA_ARG_N_PARALLEL": "16", **flags, **sizes}
    with serving(patched, "nano", **settings) as address, Client(address) as client:
        inputs = [token_array(client, length) for length in lengths]
        before = client.metrics()["llamacpp:n_decode_total"]
        together = client.embed(inputs)
        assert client.metrics()["llamacpp:n_decode_total"] - before == batches
        alone = [client.embed([tokens])[0] for tokens in inputs]
    assert cosine(together, np.array(alone)).min() >= SAME_QUANTISED
