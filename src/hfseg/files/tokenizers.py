# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Tokenizers that cannot be right: without a vocabulary, or with more words than the model knows.

transformers builds a tokenizer of its special tokens alone where a vocabulary file is missing or cannot be downloaded.
Every expression then reads as one unknown word, and the model answers all the same.
"""

import logging
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

__all__ = ["check_tokenizer", "check_vocabulary", "warn_of_spelt_words"]

logger = logging.getLogger(__name__)


def check_tokenizer(tokenizer: Any) -> None:
    """Checks that a tokenizer knows more than its special tokens.

    Args:
        tokenizer: Of transformers; None passes.

    Raises:
        ValueError: It has special tokens only.
    """
    if tokenizer is None or len(tokenizer) > len(set(tokenizer.all_special_tokens)):
        return
    source = getattr(tokenizer, "name_or_path", "")
    raise ValueError(
        f"The tokenizer{f' of {source}' if source else ''} has {len(tokenizer)} special tokens and no words: its "
        "vocabulary (tokenizer.json, or vocab.json and merges.txt) is missing there or could not be downloaded. Put "
        "the file beside tokenizer_config.json, or give the folder of a whole tokenizer."
    )


def check_vocabulary(tokenizer: Any, vocab_size: int, name: str = "The model") -> None:
    """Checks that a model has an embedding for every token; more embeddings than tokens are padding.

    Args:
        tokenizer: Of transformers; None passes.
        vocab_size: Embeddings of the text encoder.
        name: What the model is called in the message.

    Raises:
        ValueError: The tokenizer has more tokens.
    """
    if tokenizer is not None and len(tokenizer) > vocab_size:
        raise ValueError(
            f"{name} has embeddings of {vocab_size} tokens and its tokenizer {len(tokenizer)}: they do not belong "
            "together. Take tokenizer.json and tokenizer_config.json from the folder the weights come from."
        )


def warn_of_spelt_words(tokenizer: Any, texts: Iterable[str]) -> None:
    """Warns of words that the tokenizer spells letter by letter, each word once.

    A byte-level tokenizer reads every text, and a model has learned next to nothing of words that are not among its
    tokens: another language, a typing error, or anything beyond the few words of a tiny model.

    Args:
        tokenizer: Of CLIP's kind.
        texts: Clean, lower-case texts.
    """
    for text in texts:
        for word in re.findall(r"\w{3,}", text):
            _warn_of_spelt_word(tokenizer, word)


@lru_cache(maxsize=4096)
def _warn_of_spelt_word(tokenizer: Any, word: str) -> None:
    tokens = tokenizer.tokenize(word)
    if len(tokens) >= len(word) and not word.isdigit():
        logger.warning(
            f"The model's tokenizer does not know {word!r} and spells it: the answer follows the other words. Use "
            "words the model was trained on, in its language."
        )
