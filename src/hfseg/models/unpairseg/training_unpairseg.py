# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Unpair-Seg's two stages: masks without names, then masks with the nouns of captions that no one paired."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig

from accelerate import Accelerator, PartialState

from ...auto import find_auto_class
from ...evaluation.promptable import evaluate_promptable
from ...evaluation.segmentation import evaluate_open_vocabulary
from ...layers.modes import evaluation_mode
from ...training.tasks.base import Task, load_processor

READERS = {
    "segment-anything": "hfseg.data.readers.promptable:SegmentAnythingData",
    "coco-masks": "hfseg.data.readers.promptable:CocoMasks",
}


def holds_text_tower(folder: str | None) -> bool:
    """Says whether a folder was saved as an open-vocabulary model, whose text tower stage 1 must hand on."""
    if folder is None:
        return False
    names = AutoConfig.from_pretrained(folder).architectures or ()
    return any(name.endswith("ForOpenVocabularySegmentation") for name in names)


def square_of(processor: Any) -> dict[str, int]:
    """Reads the side of the network's square from a processor, as collators take it: `{"size": S}`, or nothing."""
    size = getattr(getattr(processor, "image_processor", processor), "size", None)
    side = getattr(size, "longest_edge", None)
    return {} if side is None else {"size": int(side)}


class PromptableTask(Task):
    """Stage 1: points and boxes become masks. Evaluates 1-point and 1-box IoU, with and without an oracle.

    Started from a CLIP (`model.pretrained`), it saves its text tower and tokenizer too, as the authors do:
    the folder is a mask generator, and what stage 2 starts from. `run.evaluation` takes `points_per_side`.
    """

    auto_class = "AutoModelForMaskGeneration"
    pipeline_tag = "mask-generation"
    datasets = {**Task.datasets, **READERS}
    collators = {**Task.collators, "promptable": "hfseg.data.readers.promptable:PromptableCollator"}
    default_collator = "promptable"

    def build_processor(self, model: nn.Module) -> Any:
        """Builds the image processor; from a CLIP's folder, with its tokenizer."""
        arguments = self.arguments.model
        return load_processor(arguments) if holds_text_tower(self.pretrained) else super().build_processor(model)

    def save(self, model: nn.Module, folder: Path, state_dict: Mapping[str, torch.Tensor]) -> None:
        """Writes the mask generator, or the whole open-vocabulary model that it came from."""
        source = self.pretrained
        if not holds_text_tower(source):
            return super().save(model, folder, state_dict)
        auto: Any = find_auto_class("AutoModelForOpenVocabularySegmentation")
        whole = auto.from_pretrained(source, config=model.config)
        unknown = whole.load_state_dict(dict(state_dict), strict=False).unexpected_keys
        if unknown:
            raise ValueError(f"{source} has no place for {len(unknown)} trained tensors, such as {unknown[0]}.")
        whole.save_pretrained(folder)

    def build_collator(
        self, dataset: Any, model: nn.Module, processor: Any, training: bool = True
    ) -> Callable[[list], Mapping[str, Any]]:
        """Builds the collator; its square is that of the image processor unless the recipe says otherwise."""
        collate: Any = super().build_collator(dataset, model, processor, training)
        if hasattr(collate, "training"):
            collate.training = training
            if not training:
                collate.flip_probability, collate.scale_range = 0.0, (1.0, 1.0)
        return collate

    def offered(self, dataset: Any, model: nn.Module, processor: Any) -> dict[str, Any]:
        """Adds the side of the image processor's square."""
        return {**super().offered(dataset, model, processor), **square_of(processor)}

    def evaluate(
        self,
        model: nn.Module,
        processor: Any,
        dataset: Any,
        collate: Callable[[list], Mapping[str, Any]],
        accelerator: Accelerator,
    ) -> dict[str, float]:
        """Evaluates masks of points and boxes on held-out data."""
        options = dict(self.arguments.run.evaluation)
        with evaluation_mode(model):
            return evaluate_promptable(
                accelerator.unwrap_model(model),
                getattr(processor, "image_processor", processor),
                dataset,
                options.get("points_per_side"),
                accelerator.process_index,
                accelerator.num_processes,
            )


class AlignmentTask(Task):
    """Stage 2: the adapter learns to describe masks by the entities of captions. It starts from stage 1's folder.

    Entities of the dataset are embedded once by the model's text tower before training starts. Held-out data with
    labels give mean IoU and PQ with the names of their classes, others the loss. `run.evaluation` takes `tasks`
    (panoptic and semantic) and `threshold` (the processor's).
    """

    auto_class = "AutoModelForOpenVocabularySegmentation"
    datasets = {
        **Task.datasets,
        "entities": "hfseg.data.readers.entities:EntityDataset",
        "shapes-captions": "hfseg.data.readers.entities:ShapesCaptions",
    }
    collators = {**Task.collators, "entities": "hfseg.data.readers.entities:EntityCollator"}
    default_collator = "entities"

    def example(self, name: str) -> str:
        """Shows both uses: names, and prompts."""
        return (
            "import hfseg  # registers the model with transformers\n"
            "from transformers import pipeline\n\n"
            f'named = pipeline("open-vocabulary-segmentation", model="{name}")\n'
            'print(named("photo.jpg", candidate_labels=["sky", "person, people"]))\n'
            f'prompted = pipeline("mask-generation", model="{name}")\n'
            'print(prompted("photo.jpg", input_boxes=[[10, 20, 100, 90]])["scores"])'
        )

    def build_processor(self, model: nn.Module) -> Any:
        """Loads image processor and tokenizer; at inference they select masks by the score that training selects by."""
        processor = load_processor(self.arguments.model)
        config: Any = model.config
        processor.image_processor.score_threshold = config.score_threshold
        processor.image_processor.nms_rule = config.nms_rule
        return processor

    def offered(self, dataset: Any, model: nn.Module, processor: Any) -> dict[str, Any]:
        """Adds the side of the square, and the embedding of every entity, made on the accelerator, once per machine."""
        names = sorted({name for entities in dataset.all_entities() for name in entities})
        templates = self.arguments.data.collator.get("templates", "vild")
        state = PartialState()
        with state.local_main_process_first():  # the others read what it left on disk
            network: Any = model
            home = network.device
            network.to(state.device)
            _, embeddings = processor.embed_labels(network, {name: [name] for name in names}, templates)
            network.to(home)
        table = dict(zip(names, embeddings[:, 0].cpu()))
        config: Any = model.config
        sizes = {"region_sizes": tuple(config.region_sizes)}
        offered = super().offered(dataset, model, processor)
        return {**offered, **square_of(processor), **sizes, "embeddings": table}

    def evaluate(
        self,
        model: nn.Module,
        processor: Any,
        dataset: Any,
        collate: Callable[[list], Mapping[str, Any]],
        accelerator: Accelerator,
    ) -> dict[str, float]:
        """Measures open-vocabulary segmentation, or the loss where nothing is labeled."""
        if "segmentation" not in dataset[0] and "segmentation_map" not in dataset[0]:
            return super().evaluate(model, processor, dataset, collate, accelerator)
        options = dict(self.arguments.run.evaluation)
        with evaluation_mode(model):
            return evaluate_open_vocabulary(
                accelerator.unwrap_model(model),
                processor,
                dataset,
                options.get("tasks", ("panoptic", "semantic")),
                self.arguments.data.collator.get("templates", "vild"),
                {name: options[name] for name in ("threshold",) if name in options},
                rank=accelerator.process_index,
                ranks=accelerator.num_processes,
            )
