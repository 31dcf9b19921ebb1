"""A server's memory does not grow with what it has done, and the full context needs little of it.

The latter is shown on weights of the true shape, so on two cores it takes about a minute for nano
and ten for small, or more: `nox -s test -- -m slow tests/runtime/test_memory.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFReader

from tests.contract.checks.inputs import token_array
from tests.support.client import Client
from tests.support.containers import inspect, memory_bytes
from tools.facts.models import Model, load_models
from tools.serving.profile import booted
from tools.weights.hub import models_dir
from tools.weights.recipe import Size, synthetic_name
from tools.weights.synthetic import ensure_synthetic

#: With so many bytes a container embeds an input of the model's full context. The profile's limit
#: is higher: it has room for what clients send meanwhile.
ENOUGH = {"nano": 1_000_000_000, "small": 5_000_000_000}

#: What is resident when a server has started, in bytes: the mapped file, and the matrices that are
#: laid out anew for the CPU. The context takes none before it is written.
AT_START = {"nano": 500_000_000, "small": 1_300_000_000}

#: Seconds for one request of 32768 tokens through 28 layers on two slow cores, with a margin.
LONGEST_REQUEST = 7200.0

#: Inputs of at least so many tokens, as many at once as the profile has slots.
INPUT_TOKENS = 2000
INPUTS = 16
#: An input that both models work on as a whole: small's micro-batch.
LOGITS_TOKENS = 512


def context_bytes(file: Path) -> int:
    """What the context of one token weighs: a key and a value of each layer, 2 bytes a number."""
    fields = GGUFReader(file).fields

    def number(key: str) -> int:
        return int(fields[f"qwen3.{key}"].contents())

    width = number("attention.key_length") + number("attention.value_length")
    return 2 * number("block_count") * number("attention.head_count_kv") * width


def test_the_context_of_what_was_done_is_not_kept(image: str) -> None:
    """llama-server copies what a slot held when it starts on another input, up to 8 GiB of it."""
    model = load_models().models["small"]
    file = ensure_synthetic(models_dir(), model, "tiny", "Q8_0")
    with (
        booted(model, file, image=image, synthetic=True) as running,
        Client(running.base_url) as client,
    ):

        def send(request: int) -> None:
            """No two inputs alike: a context that is kept already is not kept again."""
            first = INPUT_TOKENS + request * INPUTS
            client.embed([token_array(client, first + number) for number in range(INPUTS)])

        # Whatever a server keeps once for all inputs of a size, it has after two of them.
        send(0)
        send(1)
        # What is resident, the mapped model file left out.
        before = memory_bytes(running.container_id, "RssAnon")
        send(2)
        send(3)
        grown = memory_bytes(running.container_id, "RssAnon") - before
    # Kept, it would be the context of both requests' tokens; half of that is no rounding.
    assert grown < INPUTS * INPUT_TOKENS * context_bytes(file)


def grown_by_an_input(model: Model, size: Size, image: str) -> int:
    """By how many bytes a server's own memory grows while it works on its first input."""
    file = ensure_synthetic(models_dir(), model, size, "Q8_0")
    with (
        booted(model, file, image=image, synthetic=True) as running,
        Client(running.base_url) as client,
    ):
        tokens = token_array(client, LOGITS_TOKENS)
        before = memory_bytes(running.container_id, "RssAnon")
        client.embed([tokens])
        return memory_bytes(running.container_id, "RssAnon") - before


@pytest.mark.parametrize("model", load_models().models.values(), ids=lambda model: model.name)
def test_memory_does_not_grow_with_the_vocabulary(model: Model, patched: str) -> None:
    """llama.cpp keeps room for a logit of every token of the vocabulary, for each of an input."""
    tiny, wide = (grown_by_an_input(model, size, patched) for size in ("tiny", "wide"))
    file = models_dir() / synthetic_name(model, "tiny", "Q8_0")
    known = len(GGUFReader(file).fields["tokenizer.ggml.tokens"].data)
    room = LOGITS_TOKENS * (model.shape.vocabulary - known) * 4
    # What else differs between two boots is small beside half of that.
    assert wide - tiny < room / 2


@pytest.mark.slow
@pytest.mark.timeout(LONGEST_REQUEST)
@pytest.mark.parametrize("model", load_models().models.values(), ids=lambda model: model.name)
def test_a_full_context_fits_below_the_memory_limit(
    model: Model, patched: str, record_property: Callable[[str, object], None]
) -> None:
    assert ENOUGH[model.name] < model.serve.memory_bytes
    file = ensure_synthetic(models_dir(), model, "full", "Q8_0")
    limit = {f"JINA_{model.name.upper()}_MEMORY": f"{ENOUGH[model.name]}b"}
    with booted(model, file, image=patched, synthetic=True, variables=limit) as running:
        started = memory_bytes(running.container_id, "VmHWM")
        with Client(running.base_url, timeout=LONGEST_REQUEST) as client:
            vector = client.embed([token_array(client, model.context)])[0]
            # The next request must find the same process well.
            client.embed(["hello"])
        peak = memory_bytes(running.container_id, "VmHWM")
        state = inspect(running.container_id)
    assert started < AT_START[model.name]
    assert vector.shape == (model.dims,)
    assert np.isfinite(vector).all()
    assert not state["State"]["OOMKilled"]
    assert state["RestartCount"] == 0
    record_property("peak_resident_mb", peak // 1024**2)
    print(f"\n{model.name}: resident {started / 1e9:.2f} GB at start, {peak / 1e9:.2f} GB at most")
