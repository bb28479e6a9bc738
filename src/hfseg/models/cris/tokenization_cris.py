# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""CLIP's tokenizer from OpenAI's vocabulary file, small ones from a list of words, and CLIP's cleaning of text."""

import gzip
import html
import itertools
import re
import zlib
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
END_OF_WORD = "</w>"
# OpenAI's file holds more merges than CLIP uses; with 2 * 256 bytes and 2 special tokens these make 49408.
CLIP_MERGES = 49152 - 256 - 2


def byte_symbols() -> list[str]:
    """Lists a printable character for every byte, in the order of CLIP's ids.

    Printable bytes stand for themselves and come first; the others follow as characters from U+0100 on.
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + offset) for offset in range(len(others))]


def vocabulary(merges: Iterable[tuple[str, str]]) -> dict[str, int]:
    """Numbers the symbols: bytes, bytes that end a word, merges, and the two special tokens last."""
    symbols = byte_symbols()
    names = [*symbols, *(symbol + END_OF_WORD for symbol in symbols), *(first + second for first, second in merges)]
    return {name: number for number, name in enumerate([*names, START, END])}


def clip_tokenizer(vocabulary_file: str | Path, max_length: int = 77) -> CLIPTokenizer:
    """Builds CLIP's tokenizer from `bpe_simple_vocab_16e6.txt.gz`.

    Args:
        vocabulary_file: The file of OpenAI's repository (also in the authors').
        max_length: Tokens per text, start and end included: 17 for RefCOCO and RefCOCO+, 22 for RefCOCOg.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not that file.
    """
    path = Path(vocabulary_file)
    if not path.is_file():
        raise FileNotFoundError(f"There is no vocabulary file {path}; give bpe_simple_vocab_16e6.txt.gz of CLIP.")
    try:
        lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a readable gzip file of text ({error}); download it again.") from error
    pairs = [line.split() for line in lines[1 : 1 + CLIP_MERGES]]
    merges = [(pair[0], pair[1]) for pair in pairs if len(pair) == 2]
    if len(merges) != CLIP_MERGES:
        raise ValueError(
            f"{path} does not hold {CLIP_MERGES} pairs after its first line; give bpe_simple_vocab_16e6.txt.gz of CLIP."
        )
    return _tokenizer(merges, max_length)


def word_tokenizer(words: Iterable[str], max_length: int = 17) -> CLIPTokenizer:
    """Builds a small tokenizer of the same kind, in which each of the given words is one token.

    Other words are spelt in bytes, so every text can be read.

    Args:
        words: Lower-case words of letters.
        max_length: Tokens per text, start and end included.

    Example:
        >>> tokenizer = word_tokenizer(["red", "star"], max_length=6)
        >>> tokenizer.tokenize("The red star")
        ['t', 'h', 'e</w>', 'red</w>', 'star</w>']
    """
    spelt = [[*word[:-1], word[-1] + END_OF_WORD] for word in sorted(set(words))]
    merges: list[tuple[str, str]] = []
    # Byte-pair encoding, learned until every word is one symbol: then the merges, in this order, rebuild each of them.
    while pairs := Counter(pair for symbols in spelt for pair in itertools.pairwise(symbols)):
        pair = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(pair)
        spelt = [_merge(symbols, pair) for symbols in spelt]
    return _tokenizer(merges, max_length)


def _merge(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    """Joins every occurrence of a pair, from the left."""
    joined: list[str] = []
    for symbol in symbols:
        if joined and (joined[-1], symbol) == pair:
            joined[-1] += symbol
        else:
            joined.append(symbol)
    return joined


def _tokenizer(merges: list[tuple[str, str]], max_length: int) -> CLIPTokenizer:
    # transformers declares merges to be lines of text; its tokenizers take pairs.
    return CLIPTokenizer(vocab=vocabulary(merges), merges=cast(Any, list(merges)), model_max_length=max_length)


def clean(text: str) -> str:
    """Cleans a text as CLIP does: mojibake (if `ftfy` is installed), HTML entities, white space, lower case."""
    try:
        import ftfy
    except ImportError:
        pass
    else:
        text = ftfy.fix_text(text)
    return re.sub(r"\s+", " ", html.unescape(html.unescape(text)).strip()).lower()
