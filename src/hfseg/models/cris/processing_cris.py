# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Processor of CRIS: image processor and CLIP's tokenizer, with the authors' padding by id 0."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from transformers.processing_utils import ProcessingKwargs, ProcessorMixin, Unpack
from transformers.tokenization_utils_base import BatchEncoding
from transformers.utils import logging

from ...files.remote_code import SHIM, write_shim
from ...files.tokenizers import check_tokenizer, warn_of_spelt_words
from .tokenization_cris import clean, word_tokenizer

logger = logging.get_logger(__name__)

PADDING_ID = 0


class CrisProcessorKwargs(ProcessingKwargs, total=False):
    """Defaults of a call."""

    _defaults = {"text_kwargs": {"padding": "max_length", "truncation": True}}


class CrisProcessor(ProcessorMixin):
    """Turns images and expressions into a batch for CRIS, and its outputs into masks.

    Expressions are cleaned as CLIP does (mojibake is repaired if `ftfy` is installed), lower-cased, padded and cut to
    the tokenizer's `model_max_length` (17 for RefCOCO and RefCOCO+, 22 for RefCOCOg). Padding has the id 0, by which
    the model knows it; the tokenizer itself pads with its end token.

    Args:
        image_processor: A `CrisImageProcessor`.
        tokenizer: A `CLIPTokenizer`.

    Raises:
        ValueError: The tokenizer has no vocabulary.
    """

    valid_processor_kwargs = CrisProcessorKwargs

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, **kwargs: Any):
        check_tokenizer(tokenizer)
        super().__init__(image_processor, tokenizer)

    @classmethod
    def from_words(cls, words: Iterable[str], max_length: int = 17, **image_processor: Any) -> "CrisProcessor":
        """Builds a processor whose small tokenizer knows the given words; see `word_tokenizer`.

        Args:
            words: Lower-case words.
            max_length: Tokens per expression.
            **image_processor: Settings of the image processor.
        """
        from .image_processing_cris import CrisImageProcessor

        return cls(CrisImageProcessor(**image_processor), word_tokenizer(words, max_length))

    def __call__(self, images: Any = None, text: Any = None, masks: Any = None, **kwargs: Unpack[CrisProcessorKwargs]):
        """Prepares a batch.

        Args:
            images: See `CrisImageProcessor`.
            text: One expression per image (a string or a list), or a list per image, all of one length K.
            masks: See `CrisImageProcessor.preprocess`; for training.
            **kwargs: Settings of image processor and tokenizer, for this call only.

        Returns:
            `input_ids` and, with images, `pixel_values`; with masks `mask_labels`.

        Shape:
            pixel_values: `(B, 3, H, W)`; input_ids: `(B, L)`, or `(B, K, L)` for lists per image.

        Raises:
            TypeError: If an expression is not a string.
            ValueError: If there is nothing to prepare, an expression is empty, or numbers differ.
        """
        if images is None and text is None:
            raise ValueError("Give images, text, or both.")
        settings = self._merge_kwargs(
            cast(Any, CrisProcessorKwargs), tokenizer_init_kwargs=self.tokenizer.init_kwargs, **kwargs
        )
        data: dict[str, Any] = {}
        if images is not None:
            data |= self.image_processor(images, masks, **settings["images_kwargs"])
        elif masks is not None:
            raise ValueError("masks were given without images.")
        if text is not None:
            data |= self.encode_text(text, **settings["text_kwargs"])
        if images is not None and text is not None and len(data["input_ids"]) != len(data["pixel_values"]):
            raise ValueError(
                f"There are {len(data['pixel_values'])} image(s) and {len(data['input_ids'])} expression(s) or list(s) "
                "of expressions: give one per image. Several expressions for one image are a list in a list."
            )
        tensor_type = settings["text_kwargs"].get("return_tensors") or settings["images_kwargs"].get("return_tensors")
        return BatchEncoding(data=data, tensor_type=tensor_type)

    def encode_text(self, text: Any, **kwargs: Any) -> dict[str, Any]:
        """Tokenizes expressions; see `__call__`."""
        rows = [text] if isinstance(text, str) else text
        if not isinstance(rows, (list, tuple)) or len(rows) == 0:
            raise TypeError(f"text is {text!r}; give an expression (a string), a list of them, or a list per image.")
        grouped = all(isinstance(row, (list, tuple)) for row in rows)
        lengths = sorted({len(row) for row in rows}) if grouped else [1]
        if len(lengths) > 1 or lengths == [0]:
            raise ValueError(
                f"Images have {lengths} expressions: all need the same number, at least one. Call once per number."
            )
        expressions = [check_expression(one) for row in rows for one in (row if grouped else [row])]
        cleaned = [clean(expression) for expression in expressions]
        for given, text_ in zip(expressions, cleaned):
            check_expression(text_, given)
        tensor_type = kwargs.pop("return_tensors", None)
        kwargs.pop("return_attention_mask", None)
        if kwargs.get("truncation") and kwargs.get("max_length", self.tokenizer.model_max_length):
            self._warn_of_truncation(cleaned, kwargs.get("max_length") or self.tokenizer.model_max_length)
        warn_of_spelt_words(self.tokenizer, cleaned)
        encoded = self.tokenizer(cleaned, return_attention_mask=True, **kwargs)
        ids = [
            [token if real else PADDING_ID for token, real in zip(tokens, mask)]
            for tokens, mask in zip(encoded["input_ids"], encoded["attention_mask"])
        ]
        if grouped:
            ids = [ids[start : start + lengths[0]] for start in range(0, len(ids), lengths[0])]
        data = {**{k: v for k, v in encoded.items() if k != "attention_mask"}, "input_ids": ids}
        return dict(BatchEncoding(data=data, tensor_type=tensor_type))

    def _warn_of_truncation(self, texts: list[str], limit: int) -> None:
        long = [
            text
            for text in texts
            if len(text) > limit and len(self.tokenizer(text, verbose=False)["input_ids"]) > limit
        ]
        if long:
            logger.warning(
                f"{len(long)} expression(s) have more than {limit} tokens (start and end included) and are cut, for "
                f"example {long[0][:80]!r}. The limit is the tokenizer's model_max_length."
            )

    def post_process_referring_segmentation(self, *args: Any, **kwargs: Any) -> list:
        """See `CrisImageProcessor.post_process_referring_segmentation`."""
        return self.image_processor.post_process_referring_segmentation(*args, **kwargs)

    @property
    def model_input_names(self) -> list[str]:
        """Names of the model's inputs."""
        return ["input_ids", "pixel_values"]

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> list[str]:
        """Saves image processor and tokenizer; see `ProcessorMixin.save_pretrained`."""
        files = super().save_pretrained(save_directory, **kwargs)
        classes = {
            "AutoProcessor": f"{SHIM}.{type(self).__name__}",
            "AutoImageProcessor": f"{SHIM}.{type(self.image_processor).__name__.removesuffix('Pil')}",
        }
        write_shim(Path(save_directory), "processor_config.json", classes)
        return files

    @classmethod
    def get_processor_dict(cls, pretrained_model_name_or_path: Any, **kwargs: Any) -> Any:
        """Reads the saved settings. Their `auto_map` describes the folder, it is no setting of the processor."""
        settings, rest = super().get_processor_dict(pretrained_model_name_or_path, **kwargs)
        settings.pop("auto_map", None)
        return settings, rest


def check_expression(expression: Any, given: Any = None) -> str:
    """Checks that an expression is a string with something in it.

    Raises:
        TypeError: If it is no string.
        ValueError: If it is empty.
    """
    if not isinstance(expression, str):
        raise TypeError(f"An expression is {expression!r} ({type(expression).__name__}); give a string.")
    if not expression.strip():
        raise ValueError(
            f"An expression is empty ({expression if given is None else given!r}); say in words what to look for."
        )
    return expression


__all__ = ["CrisProcessor"]
