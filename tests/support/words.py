"""Token ids of plain English text without a server, for synthetic weights in unit tests."""

from __future__ import annotations

import re
from pathlib import Path

from gguf import GGUFReader

#: Words with the character before them, else single characters: enough of llama.cpp's patterns
#: for the example corpus.
_PIECE = re.compile(r"'s|[^\r\nA-Za-z0-9]?[A-Za-z]+|.")


class Words:
    """The vocabulary of one synthetic file."""

    def __init__(self, path: Path) -> None:
        reader = GGUFReader(path)
        tokens = reader.fields["tokenizer.ggml.tokens"].contents()
        self._ids = {token: number for number, token in enumerate(tokens)}
        self.eos: int = reader.fields["tokenizer.ggml.eos_token_id"].contents()

    def token_ids(self, text: str) -> list[int]:
        """Return the ids of ASCII ``text`` with EOS, as llama-server's /tokenize gives them.

        Synthetic merges run from the left end of a word, so the longest beginning that is a
        token comes first, as it would from the merges themselves.
        """
        ids = []
        for piece in _PIECE.findall(text):
            # GPT-2's alphabet writes a space as this letter and other visible ASCII as itself.
            rest = piece.replace(" ", "\u0120")
            while rest:
                length = next(n for n in range(len(rest), 0, -1) if rest[:n] in self._ids)
                ids.append(self._ids[rest[:length]])
                rest = rest[length:]
        return [*ids, self.eos]
