# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Images, outputs and a tokenizer for Unpair-Seg's processors."""

from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image
from transformers import CLIPTokenizer


def photo(height: int, width: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8))


def tiny_tokenizer() -> CLIPTokenizer:
    """CLIP's tokenizer with the letters only.

    The tokens at the ends are 62 and 63, as the tiny models' configurations have them: a text tower that looks for
    another one reads its features at the first token, where every text is the same.
    """
    letters = "abcdefghijklmnopqrstuvwxyz.,"
    words = [*letters, *(f"{letter}</w>" for letter in letters), *(f"<unused{n}>" for n in range(6))]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocab = {word: index for index, word in enumerate(words)}
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=8, unk_token="<|endoftext|>")


def outputs(scores, num_classes=3, batch_size=1):
    """Masks that are the left, the right and the whole half of a 64 x 64 input, with class 0, 1 and 2."""
    logits = torch.full((batch_size, 3, 16, 16), -8.0)
    logits[:, 0, :, :8] = logits[:, 1, :, 8:] = logits[:, 2] = 8.0
    classes = 20 * torch.eye(3)[:, :num_classes].expand(batch_size, -1, -1)
    scores = torch.tensor(scores).expand(batch_size, -1)
    return OutputDict(masks_queries_logits=logits, class_queries_logits=classes, iou_scores=scores)


class OutputDict(SimpleNamespace):
    def get(self, name):
        return getattr(self, name, None)
