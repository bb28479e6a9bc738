# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""CLIP's byte-pair tokenizer in plain Python, from the `tokenizer.json` that an exported file carries.

Texts are split as CLIP's pattern says (the two special tokens, English contractions, runs of letters, single digits,
runs of the rest); letters and digits go by Unicode's categories.
"""

import html
import itertools
import re
import unicodedata
from collections.abc import Mapping
from typing import Any

__all__ = ["Tokenizer", "clean"]

CONTRACTIONS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
END_OF_WORD = "</w>"


def clean(text: str) -> str:
    """HTML entities resolved, white space collapsed, lower case. Mojibake is not repaired, as CLIP does with ftfy."""
    return re.sub(r"\s+", " ", html.unescape(html.unescape(text)).strip()).lower()


def _byte_symbols() -> dict[int, str]:
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return {byte: chr(byte) for byte in printable} | {byte: chr(256 + place) for place, byte in enumerate(others)}


def words_of(text: str) -> list[str]:
    """Splits a text as CLIP's pattern does."""
    words, place = [], 0
    while place < len(text):
        contraction = next((one for one in CONTRACTIONS if text.startswith(one, place)), None)
        kind = unicodedata.category(text[place])[0]
        if contraction is not None:
            end = place + len(contraction)
        elif text[place].isspace():
            place += 1
            continue
        elif kind == "N":
            end = place + 1
        else:
            end = place + 1
            letters = kind == "L"
            while end < len(text) and not text[end].isspace():
                other = unicodedata.category(text[end])[0]
                if other == "N" or (other == "L") != letters:
                    break
                end += 1
        words.append(text[place:end])
        place = end
    return words


class Tokenizer:
    """Ids of expressions: start, byte pairs, end, then 0 up to the length.

    Args:
        content: Of `tokenizer.json`.
        max_length: Tokens per expression, start and end included.

    Raises:
        ValueError: The file is no byte-pair tokenizer with CLIP's special tokens.
    """

    def __init__(self, content: Mapping[str, Any], max_length: int) -> None:
        model = content.get("model", {})
        if model.get("end_of_word_suffix") != END_OF_WORD or "merges" not in model:
            raise ValueError("the tokenizer is no byte-pair tokenizer of CLIP's kind")
        self.vocabulary: Mapping[str, int] = model["vocab"]
        merges = (tuple(pair.split(" ")) if isinstance(pair, str) else tuple(pair) for pair in model["merges"])
        self.ranks = {pair: rank for rank, pair in enumerate(merges)}
        self.bytes = _byte_symbols()
        self.max_length = max_length
        self.start, self.end = self.vocabulary["<|startoftext|>"], self.vocabulary["<|endoftext|>"]

    def _pairs(self, word: str) -> list[str]:
        symbols = [self.bytes[byte] for byte in word.encode("utf-8")]
        symbols[-1] += END_OF_WORD
        while len(symbols) > 1:
            ranked = [
                (self.ranks.get(pair, len(self.ranks)), place) for place, pair in enumerate(itertools.pairwise(symbols))
            ]
            rank, _ = min(ranked)
            if rank == len(self.ranks):
                break
            merged, place = list[str](), 0
            while place < len(symbols):
                if place + 1 < len(symbols) and self.ranks.get((symbols[place], symbols[place + 1])) == rank:
                    merged.append(symbols[place] + symbols[place + 1])
                    place += 2
                else:
                    merged.append(symbols[place])
                    place += 1
            symbols = merged
        return symbols

    def __call__(self, text: str) -> list[int]:
        """Ids of one expression, cut and padded to the length.

        Raises:
            ValueError: It is empty.
        """
        cleaned = unicodedata.normalize("NFC", clean(text))
        if not cleaned:
            raise ValueError(f"an expression is empty ({text!r}); say in words what to look for")
        ids = [self.vocabulary[symbol] for word in words_of(cleaned) for symbol in self._pairs(word)]
        ids = [self.start, *ids[: self.max_length - 2], self.end]
        return ids + [0] * (self.max_length - len(ids))
