"""What a request gives the toy to embed: texts, objects with a text, and tokens."""

from __future__ import annotations

from typing import Any

from tests.support.refusals import RefusalError, bad_request
from tests.support.toy.model import END, ToyModel

#: The most inputs of a request, the image's own default.
MAX_INPUTS = 2048

#: Characters of a token; a text of more than so many for each token of the context is not counted.
LONGEST_WORD = 100


def is_token_array(given: Any) -> bool:
    return isinstance(given, list) and all(type(each) is int for each in given)


def too_long(message: str) -> RefusalError:
    return RefusalError(400, "exceed_context_size_error", message)


class ToyInputs:
    """Reads them; every method raises RefusalError for what cannot be."""

    def __init__(self, toy: ToyModel) -> None:
        self.toy = toy
        self.context = toy.model.context

    def each(self, given: Any) -> list[Any]:
        """Return the single inputs of a request, objects as their texts."""
        inputs = [self.text_of(each, at) for at, each in enumerate(self.split(given))]
        self.check_count(len(inputs))
        return inputs

    def split(self, given: Any) -> list[Any]:
        """Return the request's input as a list of single inputs."""
        if isinstance(given, str | dict) or (is_token_array(given) and given):
            return [given]
        if not isinstance(given, list) or not given:
            raise bad_request("input must be a text, a token array or a list of these", "input")
        return given

    def text_of(self, given: Any, at: int) -> Any:
        """Return an input as it is, or the text of an object."""
        if not isinstance(given, dict):
            return given
        odd = sorted(set(given) - {"text", "type"})
        if odd:
            raise bad_request(f"input[{at}] holds `{odd[0]}`")
        return given.get("text")

    def check_count(self, count: int) -> None:
        """Refuse more inputs than a request may have."""
        if count > MAX_INPUTS:
            raise bad_request(f"{count} inputs are more than {MAX_INPUTS}")

    def read(self, given: Any, at: int) -> list[int]:
        """Return the tokens of a single input."""
        if given == "":
            raise bad_request("an input is empty", f"input[{at}]")
        if isinstance(given, str):
            return self.tokens(given)
        if not is_token_array(given) or not given:
            raise bad_request("each input must be a text or a token array that is not empty")
        self.check_end(given)
        if not 0 <= min(given) <= max(given) <= END:
            raise bad_request("a token is outside of the vocabulary")
        tokens: list[int] = given
        return tokens

    def tokens(self, text: str) -> list[int]:
        """Return a text's tokens; a text that cannot but be too long is not even counted."""
        if len(text) > LONGEST_WORD * self.context:
            raise too_long(f"the text is longer than the context of {self.context}")
        return self.toy.tokens(text)

    def check_end(self, tokens: list[int]) -> None:
        """Refuse tokens that do not end as the model's own do."""
        if tokens[-1] != END:
            raise bad_request("other tokens than ours; LangChain: check_embedding_ctx_length=False")

    def fit(self, tokens: list[int], *, cut: bool) -> list[int]:
        """Return tokens no longer than the limit, cut where that was asked for."""
        limit = self.limit()
        if len(tokens) <= limit:
            return tokens
        if not cut:
            raise too_long(f"{len(tokens)} tokens exceed the context of {limit}")
        return self.cut(tokens, limit)

    def limit(self) -> int:
        """Return the most tokens of an input."""
        return self.context

    def cut(self, tokens: list[int], limit: int) -> list[int]:
        """Return the first tokens, and the end."""
        return [*tokens[: limit - 1], tokens[-1]]

    def truncation(self, *, asked: bool, whole: list[int], used: list[int]) -> dict[str, bool]:
        """Return what an answer says about a cut input: nothing where no cut was asked for."""
        return {"truncated": len(used) < len(whole)} if asked else {}
