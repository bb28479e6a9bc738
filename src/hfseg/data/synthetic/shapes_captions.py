# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Captions of `shapes` scenes, and a vocabulary for them: image-text pairs that are exactly right, offline."""

from __future__ import annotations

from typing import Any

import torch

from .shapes import COLORS, SPLITS, TEXTURES, Scene, id2label, render_scene, stuff_class_ids

__all__ = ["CaptionedShapes", "caption", "caption_tokenizer", "entity_tokenizer"]

PLACES = (("upper left", "top", "upper right"), ("left", "center", "right"), ("lower left", "bottom", "lower right"))
MAX_LENGTH = 40
ENTITY_LENGTH = 24
_WORDS = "a an and with on at the large medium small upper lower left right top bottom center of , image".split()
_SENTENCE_WORDS = "a an and , . photo image this is there the in scene of small medium large".split()


def caption(scene: Scene) -> str:
    """Describes every thing, front to back, by size, color, texture, shape and place, and the stuff behind.

    Example: "a large red dots circle at the upper left , a small blue plain star at the center on grass and sky".
    """
    height, width = scene.segmentation.shape
    things = []
    for thing in scene.objects:
        x, y = thing.center
        place = PLACES[min(2, max(0, int(3 * y / height)))][min(2, max(0, int(3 * x / width)))]
        things.append(f"a {thing.size} {thing.color} {thing.texture} {thing.shape} at the {place}")
    present = {segment["category_id"] for segment in scene.segments_info}
    stuff = [id2label[class_id] for class_id in stuff_class_ids if class_id in present]
    return " , ".join(things[:3]) + " on " + " and ".join(stuff)


def caption_tokenizer() -> Any:
    """Builds a tokenizer with the words of the captions: one token per word, padded to 40."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", "<pad>", *sorted({*_WORDS, *COLORS, *TEXTURES, *id2label.values()})]
    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.post_processor = TemplateProcessing(single="$A", special_tokens=[])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        pad_token="<pad>",
        model_max_length=MAX_LENGTH,
        # The tower reads the last token: texts are padded before it.
        padding_side="left",
    )


def entity_tokenizer() -> Any:
    """Builds a tokenizer for names of the scenes' classes: lower case, one token per word, between start and end.

    It knows the words of `ShapesCaptions` and of the sentences that are usually put around names of classes.
    """
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.normalizers import Lowercase
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast

    # CLIP's text tower in transformers takes 2 for the end of a text to be a mistake, and reads the largest id instead.
    special = ["<unk>", "<pad>", "<start>", "<end>"]
    words = sorted({*_SENTENCE_WORDS, *COLORS, *id2label.values()})
    vocabulary = {word: number for number, word in enumerate([*special, *words])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = Lowercase(), Whitespace()
    tokenizer.post_processor = TemplateProcessing(
        single="<start> $A <end>", special_tokens=[("<start>", 2), ("<end>", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token="<unk>",
        bos_token="<start>",
        eos_token="<end>",
        pad_token="<pad>",
        model_max_length=ENTITY_LENGTH,
    )


class CaptionedShapes(torch.utils.data.Dataset):
    """`shapes` scenes with captions: `{"image", "text", "segmentation", "segments_info"}`.

    Args: see `ShapesDataset`.
    """

    id2label = id2label
    stuff_class_ids = stuff_class_ids
    ignore_index = 255

    def __init__(
        self, split: str = "train", num_scenes: int = 1000, image_size: tuple[int, int] = (96, 96), seed: int = 0
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"split {split!r} is unknown; the splits of shapes are {', '.join(SPLITS)}")
        self.split, self.num_scenes, self.seed = split, num_scenes, seed
        self.image_size = (int(image_size[0]), int(image_size[1]))

    def __len__(self) -> int:
        return self.num_scenes

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not -self.num_scenes <= index < self.num_scenes:
            raise IndexError(f"scene {index} of {self.num_scenes}")
        scene = render_scene(
            index % self.num_scenes,
            image_size=self.image_size,
            seed=self.seed,
            split=self.split,
        )
        return {
            "image": scene.image,
            "text": caption(scene),
            "segmentation": scene.segmentation,
            "segments_info": scene.segments_info,
        }
