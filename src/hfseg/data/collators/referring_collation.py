# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Batches for models with a processor that takes images, expressions and masks."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..readers.images import to_rgb

__all__ = ["ReferringProcessorCollator"]


class ReferringProcessorCollator:
    """Batch from examples of the referring schema, made by the model's own processor.

    Of the expressions of a referent one is drawn at every visit. An example may also hold K referents: K masks and K
    lists of expressions. Where examples name the `kinds` of expressions (`shapes`), a kind is drawn first, then an
    expression of it, so that rare kinds are not lost.

    Args:
        processor: Called with `images`, `text` and `masks`.
        transforms: Optional function from example to example. Flips make "left" wrong.
        max_length: Tokens per expression; None: the tokenizer's own length.
        shuffle_expressions: Gives every image the expressions of the next one in the batch: a control, from which
            nothing but the images' prior can be learned.
        kind_weights: How often a kind is drawn, relative to 1 of the kinds not named, where examples name kinds.

    Raises:
        ValueError: If a column is missing or a weight is not positive.
    """

    def __init__(
        self,
        processor: Callable[..., Mapping[str, Any]],
        transforms: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        max_length: int | None = None,
        shuffle_expressions: bool = False,
        kind_weights: Mapping[str, float] | None = None,
    ) -> None:
        tokenizer = getattr(processor, "tokenizer", None)
        if tokenizer is None:
            raise ValueError("expressions need a processor with a tokenizer; set model.tokenizer in the recipe")
        if max_length is not None:
            tokenizer.model_max_length = max_length  # saved with the model
        if any(weight <= 0 for weight in (kind_weights or {}).values()):
            raise ValueError(f"kind_weights is {kind_weights}; weights must be positive")
        self.processor, self.transforms, self.shuffle_expressions = processor, transforms, shuffle_expressions
        self.kind_weights = kind_weights

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        if len(examples) == 0:
            raise ValueError("the batch is empty; give at least one example")
        images: list[Any] = []
        texts: list[Any] = []
        masks: list[Any] = []
        for position, example in enumerate(examples):
            missing = [name for name in ("image", "mask", "expressions") if example.get(name) is None]
            if missing or not example["expressions"]:
                raise ValueError(
                    f"example {position} has the columns {sorted(example)}; it needs 'image', 'mask' and a non-empty "
                    "list 'expressions'"
                )
            if self.transforms is not None:
                example = self.transforms(dict(example))
            images.append(to_rgb(example["image"]))
            masks.append(example["mask"])
            kinds = example.get("kinds")
            if isinstance(example["expressions"][0], str):
                texts.append(draw_expression(example["expressions"], kinds, self.kind_weights))
            else:
                lists = zip(example["expressions"], kinds or [None] * len(example["expressions"]))
                texts.append([draw_expression(one, of_one, self.kind_weights) for one, of_one in lists])
        if self.shuffle_expressions:
            texts = texts[1:] + texts[:1]
        return dict(self.processor(images=images, text=texts, masks=masks, return_tensors="pt"))


def draw_expression(
    expressions: Sequence[str], kinds: Sequence[str] | None = None, kind_weights: Mapping[str, float] | None = None
) -> str:
    """Draws one of the expressions, uniformly; with kinds, a kind first, by weight."""
    if kinds is not None:
        present = sorted(set(kinds))
        kind = random.choices(present, [(kind_weights or {}).get(one, 1.0) for one in present])[0]
        expressions = [text for text, its_kind in zip(expressions, kinds) if its_kind == kind]
    return random.choice(list(expressions))
