# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Tokenizers that cannot be right: without a vocabulary, with more words than the model knows, or another end of texts.

transformers builds a tokenizer of its special tokens alone where a vocabulary file is missing or cannot be downloaded.
Every expression then reads as one unknown word, and the model answers all the same.
"""

import logging
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

__all__ = ["check_tokenizer", "check_vocabulary", "warn_of_spelt_words"]

READS_LARGEST = 2  # what transformers' CLIPTextModel takes for "the largest id", whatever the tokenizer says
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


def check_vocabulary(tokenizer: Any, text_config: Any, name: str = "The model") -> None:
    """Checks that a text tower and a tokenizer agree on the tokens and on what ends a text.

    More embeddings than tokens are padding. CLIP's tower describes a text by its token `eos_token_id`: where the
    tokenizer never writes it, transformers reads the first token, and all texts are one. A stated 2 stands for the
    largest id in a text, as in the first releases of CLIP: then words with an id above the end would hide what follows.

    Args:
        tokenizer: Of transformers; None passes.
        text_config: Of the text tower, with `vocab_size` and `eos_token_id`.
        name: What the model is called in the message.

    Raises:
        ValueError: The tokenizer has more tokens, or ends texts otherwise.
    """
    if tokenizer is None:
        return
    files = "tokenizer.json and tokenizer_config.json"
    remedy = f"they do not belong together. Take {files} from the folder the weights come from."
    if len(tokenizer) > text_config.vocab_size:
        raise ValueError(
            f"{name} has embeddings of {text_config.vocab_size} tokens and its tokenizer {len(tokenizer)}: {remedy}"
        )
    end, stated = getattr(tokenizer, "eos_token_id", None), getattr(text_config, "eos_token_id", None)
    if end is None or stated is None:
        return
    if stated == READS_LARGEST:
        above = sorted((number, word) for word, number in tokenizer.get_vocab().items() if number > end)
        if above:
            raise ValueError(
                f"{name} reads a text at its token with the largest id (text_config.eos_token_id is {stated}), and its "
                f"tokenizer ends texts with {end}, below {len(above)} words such as {above[0][1]!r}: what follows such "
                "a word would not be read. Use a tokenizer whose end has the largest id, or train with one whose end "
                f"is not {READS_LARGEST} and state it."
            )
    elif stated != end:
        raise ValueError(
            f"{name} reads a text at token {stated} (text_config.eos_token_id), and its tokenizer ends texts with "
            f"{end}: {remedy}"
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
