"""What is sent: inputs of exact lengths, alone or in batches, by some clients at once."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from tools.facts.corpus import load_corpus
from tools.facts.models import Model

CLIENTS = (1, 4, 16, 64)
LENGTHS = (16, 128, 512, 2048)
BATCHES = (1, 32)

#: What all clients may send at the same time, in tokens. More is only a longer queue: the server
#: works at the same rate, and on two cores each request of it takes minutes.
MOST_AT_ONCE = 32768
#: A round of one workload sends at least as many tokens, so that it lasts seconds.
TOKENS_A_ROUND = 4096
#: And at most as many requests, beyond one for each client.
MOST_REQUESTS = 128

#: Ordinary tokens: the first few hundred are bytes, and special ones come last in both models.
_FIRST_TOKEN, _LAST_TOKEN = 1000, 100_000


@dataclass(frozen=True)
class Workload:
    """Inputs of ``tokens`` tokens, ``batch`` in a request, by ``clients`` clients at once.

    A round sends ``times`` as many requests as it does on a CPU.
    """

    tokens: int
    clients: int
    batch: int
    times: int = 1

    @property
    def name(self) -> str:
        inputs = f"{self.tokens} tokens" if self.batch == 1 else f"{self.batch} x {self.tokens}"
        return f"{inputs}, {self.clients} client{'' if self.clients == 1 else 's'}"

    @property
    def tokens_a_request(self) -> int:
        return self.tokens * self.batch

    @property
    def requests(self) -> int:
        """How many requests one round sends: the same number by each client."""
        wanted = min(-(-TOKENS_A_ROUND // self.tokens_a_request), MOST_REQUESTS)
        return max(1, -(-wanted // self.clients)) * self.clients * self.times


#: A look in two minutes: a query, a rush of queries, documents, and a batch of them.
QUICK = (Workload(16, 1, 1), Workload(16, 64, 1), Workload(512, 4, 1), Workload(128, 1, 32))

#: What a GPU is measured by: a query, a rush of queries, the two batches of which Jina publishes
#: rates on a GPU (jina-on-prem), documents, and batches of them as a bulk load sends. A GPU has
#: done a CPU's round in milliseconds.
GPU_PLAN = (
    Workload(16, 1, 1, times=2),
    Workload(16, 64, 1, times=8),
    Workload(32, 1, 8, times=16),
    Workload(128, 1, 4, times=16),
    Workload(512, 16, 1, times=8),
    Workload(512, 4, 32, times=2),
)


def full_plan() -> tuple[Workload, ...]:
    """Return every combination of which not too much is under way at once."""
    every = (
        Workload(tokens, clients, batch)
        for batch in BATCHES
        for tokens in LENGTHS
        for clients in CLIENTS
    )
    return tuple(each for each in every if each.tokens_a_request * each.clients <= MOST_AT_ONCE)


def bodies(workload: Workload, seed: Sequence[int], end: int | None) -> list[bytes]:
    """Return the request bodies of one round; no two inputs of any rounds are alike.

    The inputs are token arrays, which have the exact length on every model and the token ``end``
    at their end. With None, for a server that takes no arrays, they are texts of that length on
    our synthetic weights. The vectors are asked for as base64, as OpenAI's own client does.
    """
    count = workload.requests * workload.batch
    generator = np.random.default_rng([*seed, workload.tokens, workload.clients, workload.batch])
    inputs: list[list[int]] | list[str]
    if end is None:
        inputs = random_texts(generator, count, workload.tokens)
    else:
        inputs = random_tokens(generator, count, workload.tokens, end)
    batches = (inputs[at : at + workload.batch] for at in range(0, count, workload.batch))
    return [json.dumps({"input": batch, "encoding_format": "base64"}).encode() for batch in batches]


def end_token(model: Model) -> int:
    """Return the token that ends every text of ``model``'s synthetic weights in true shape.

    It is their vocabulary's last (tools/weights/vocabulary.py).
    """
    return model.shape.vocabulary - 1


def random_tokens(
    generator: np.random.Generator, count: int, length: int, end: int
) -> list[list[int]]:
    """Return ``count`` arrays of ``length`` tokens: ordinary ones, and ``end`` as the last."""
    tokens = generator.integers(_FIRST_TOKEN, _LAST_TOKEN, (count, length))
    tokens[:, -1] = end
    arrays: list[list[int]] = tokens.tolist()
    return arrays


def random_texts(generator: np.random.Generator, count: int, length: int) -> list[str]:
    """Return ``count`` texts of ``length`` tokens, the EOS that the server appends among them."""
    words = single_tokens()
    chosen = generator.integers(0, len(words), (count, length - 1))
    return ["".join(words[place] for place in row) for row in chosen]


@cache
def single_tokens() -> tuple[str, ...]:
    """Return words with the blank before them that are one token each in synthetic weights.

    tools/weights/synthetic.py makes one of every word of the corpus, as it stands there.
    """
    text = " ".join(document.text for document in load_corpus().documents)
    return tuple(sorted(set(re.findall(r" [a-z]+(?= )", text))))
