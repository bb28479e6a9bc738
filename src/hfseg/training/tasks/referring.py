# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Referring segmentation: the mask of what an expression means, learned through the model's own processor."""

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

from torch import nn

from accelerate import Accelerator

from ... import auto
from ...backbone_weights import PACKAGED
from ...data.synthetic.referring_shapes import referring_words
from ...evaluation.referring import evaluate_referring, referring_overlays
from ...files.tokenizers import check_tokenizer, check_vocabulary
from ...tasks import pretrained_source
from .base import Task, build_image_processor, build_model, load_processor

TOKENIZER_FILES = ("tokenizer.json", "vocab.json")


def _holds_processor(source: str, processor_class: type) -> bool:
    """Whether a local folder, or one of the Hub, was saved with a processor of this class."""
    from transformers.utils import cached_file

    file = cached_file(source, "processor_config.json", _raise_exceptions_for_missing_entries=False)
    if file is None:
        return False
    named = json.loads(Path(file).read_text(encoding="utf-8")).get("processor_class")
    return named in (None, processor_class.__name__)


def _load_tokenizer(source: str) -> Any:
    """Loads the tokenizer of a CLIP.

    Raises:
        ValueError: It cannot be read.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(source)
        check_tokenizer(tokenizer)
        return tokenizer
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"No tokenizer can be read from {source!r}: {error}") from error


class ReferringTask(Task):
    """Images, expressions and masks.

    Without `model.tokenizer` and `model.pretrained` a tokenizer of the words of the `shapes` scenes is made; the
    model's vocabulary must have its size. `run.evaluation` takes `limit`, the number of examples.
    """

    auto_class = "AutoModelForReferringImageSegmentation"
    datasets = {
        **Task.datasets,
        "referring_shapes": "hfseg.data.synthetic.referring_shapes:ReferringShapesDataset",
        "refer": "hfseg.data.readers.refer:load_refer",
        "refer_lmdb": "hfseg.data.readers.refer:ReferLmdbDataset",
        "refer_json": "hfseg.data.readers.refer:load_refer_json",
    }
    collators = {
        **Task.collators,
        "referring_processor": "hfseg.data.collators.referring_collation:ReferringProcessorCollator",
    }
    default_collator = "referring_processor"

    def example(self, name: str) -> str:
        """Shows an expression; transformers itself has no such pipeline."""
        return (
            "import hfseg  # registers the model with transformers\n"
            "from transformers import pipeline\n\n"
            f'segmenter = pipeline("referring-image-segmentation", model="{name}")\n'
            'print(segmenter("photo.jpg", text="the red star"))'
        )

    def build_model(self, dataset: Any, load_backbone: bool = True) -> nn.Module:
        """Builds the model: new, from a folder, or (with `model.backbone`) from CLIP's weights.

        Raises:
            ValueError: `model.backbone` names packaged weights, which are of no CLIP.
        """
        model = self.arguments.model
        if model.backbone in PACKAGED:
            raise ValueError(
                f"model.backbone is {model.backbone!r}, but this model starts from a CLIP. Which weights it can start "
                "from: docs/starting_weights.md."
            )
        if model.backbone is not None and load_backbone:
            head = auto.load(str(auto.find(str(model.model_type)).models[self.auto_class]))
            return head.from_clip(model.backbone, **model.config)
        return build_model(dataclasses.replace(model, backbone=None), auto_class=self.auto_class)

    def build_processor(self, model: nn.Module) -> Any:
        """Loads image processor and tokenizer from a folder, or makes them for `shapes`.

        The folder may be that of `model.backbone`, if it holds a tokenizer; of a CLIP only the tokenizer is taken.
        """
        arguments = self.arguments.model
        row = next((row for row in auto.ARCHITECTURES if row.model_type == arguments.model_type), None)
        made = None if row is None else auto.load(str(row.processor))
        source = arguments.tokenizer or arguments.pretrained
        backbone = Path(arguments.backbone) if arguments.backbone is not None else None
        if backbone is not None and any((backbone / name).is_file() for name in TOKENIZER_FILES):
            source = str(backbone)
        if source is not None:
            source = pretrained_source(source)
            text_config = cast(Any, model).config.text_config
            arguments = dataclasses.replace(arguments, tokenizer=source)
            if made is None or _holds_processor(source, made):
                processor = load_processor(arguments)
                check_vocabulary(processor.tokenizer, text_config)
                return processor
            image_processor = build_image_processor(
                dataclasses.replace(arguments, pretrained=None, backbone=None), model
            )
            tokenizer = _load_tokenizer(source)
            check_vocabulary(tokenizer, text_config)
            return made(image_processor, tokenizer)
        if self.arguments.data.name != "referring_shapes":
            raise ValueError(
                "A model that reads text needs model.tokenizer: a folder with CLIP's tokenizer, such as "
                "openai/clip-vit-base-patch32 or a converted model."
            )
        assert made is not None
        processor = made.from_words(referring_words(), **arguments.processor)
        size = cast(Any, model).config.text_config.vocab_size
        if size != len(processor.tokenizer):
            raise ValueError(
                f"model.config.text_config.vocab_size is {size}; the tokenizer of the shapes words has "
                f"{len(processor.tokenizer)} tokens, the last two of them start and end."
            )
        return processor

    def evaluate(
        self,
        model: nn.Module,
        processor: Any,
        dataset: Any,
        collate: Callable[[list], Mapping[str, Any]],
        accelerator: Accelerator,
    ) -> dict[str, float]:
        """Evaluates oIoU, mIoU and precisions in percent, mIoU also by kind of expression."""
        options = {"limit": None, **self.arguments.run.evaluation}
        if set(options) != {"limit"}:
            raise ValueError(f"run.evaluation is {self.arguments.run.evaluation}; legal is limit.")
        numbers = evaluate_referring(
            model, processor, dataset, rank=accelerator.process_index, ranks=accelerator.num_processes, **options
        )
        numbers |= {f"miou {kind}": of.get("miou") for kind, of in numbers.pop("kinds").items()}
        return {name: value for name, value in numbers.items() if value is not None}

    def overlays(self, model: nn.Module, processor: Any, dataset: Any, count: int) -> list[Any]:
        """Draws image, truth and prediction side by side."""
        return referring_overlays(model, processor, dataset, count)
