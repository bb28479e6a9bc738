# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Training of open-vocabulary PRO-SCALE on labeled segments: masks without classes, and their names by a frozen CLIP.

    hfseg train --recipe proscale-r50-coco-open-vocabulary --output_dir DIR

`model.pretrained` is the folder or Hub id of a CLIP with a ViT, of which both towers and the tokenizer are taken, or of
this architecture, such as `task: contrastive` writes.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import nn
from transformers import PROCESSOR_MAPPING, AutoConfig, CLIPTokenizer

from accelerate import PartialState

from ...data.collators.collation import IMAGENET_MEAN, IMAGENET_STD, UniversalCollator
from ...data.readers.schema import DEFAULT_IGNORE_INDEX
from ...evaluation.labels import embed_classes
from ...evaluation.segmentation import evaluate_open_vocabulary, measurable_tasks
from ...files.prompt_names import prompt_names
from ...training.arguments import ModelArguments
from ...training.tasks.base import build_image_processor, check_config_fields, load_backbone_weights, load_processor
from ...training.tasks.closed_vocabulary import MeasuredTask
from .configuration_open_vocabulary_proscale import ProScaleOpenVocabularyConfig
from .open_vocabulary_proscale import ProScaleForOpenVocabularySegmentation

__all__ = ["NamesCollator", "NamesTask"]

TASKS = ("panoptic", "semantic")


class NamesCollator(UniversalCollator):
    """`UniversalCollator`, with the embedded names of the classes beside every batch.

    Args:
        text_embeds: Of the classes, by id.
        templates: Sentences around the names when they were embedded; for the task, not used here.
        (the others): As `UniversalCollator`.

    Shape:
        text_embeds: `(V, R, D')`, also in batches.
    """

    def __init__(
        self,
        text_embeds: torch.Tensor,
        templates: str | Sequence[str] = "vild",
        ignore_index: int = DEFAULT_IGNORE_INDEX,
        transforms: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        num_labels: int | None = None,
        size_divisor: int = 32,
        image_mean: Sequence[float] = IMAGENET_MEAN,
        image_std: Sequence[float] = IMAGENET_STD,
    ) -> None:
        super().__init__(ignore_index, transforms, num_labels, size_divisor, image_mean, image_std)
        self.text_embeds = text_embeds

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Shape: as `UniversalCollator`; text_embeds: `(V, R, D')`."""
        return {**super().__call__(examples), "text_embeds": self.text_embeds}


class NamesTask(MeasuredTask):
    """Segments with classes, whose names CLIP's text tower embeds once before training starts.

    `data.collator` takes `templates`, sentences around the names (`vild`), in training and evaluation. `run.evaluation`
    also takes `tasks` (panoptic and semantic) and `threshold` (the processor's).
    """

    auto_class = "AutoModelForOpenVocabularySegmentation"
    collators = {
        **MeasuredTask.collators,
        "names": "hfseg.models.proscale.training_open_vocabulary_proscale:NamesCollator",
    }
    default_collator = "names"

    def default_options(self) -> dict[str, Any]:
        """What `run.evaluation` takes."""
        return {"tasks": TASKS, "threshold": None, **super().default_options()}

    @property
    def templates(self) -> str | Sequence[str]:
        """Sentences around names."""
        return self.arguments.data.collator.get("templates", "vild")

    def example(self, name: str) -> str:
        """Shows how segments are asked for by name."""
        return (
            "import hfseg  # registers the model with transformers\n"
            "from transformers import pipeline\n\n"
            f'named = pipeline("open-vocabulary-segmentation", model="{name}")\n'
            'print(named("photo.jpg", candidate_labels=["sky", "person, people"]))'
        )

    # ---------------------------------------------------------------------------------------------------------- parts

    def starts_from_clip(self) -> bool:
        """Whether `model.pretrained` is a CLIP, of which the towers are taken."""
        source = self.pretrained
        return source is not None and AutoConfig.from_pretrained(source, trust_remote_code=False).model_type == "clip"

    def start(self, dataset: Any) -> ProScaleForOpenVocabularySegmentation:
        """Builds the model on the towers of a CLIP; classes of the configuration are the dataset's."""
        arguments: ModelArguments = self.arguments.model
        check_config_fields(ProScaleOpenVocabularyConfig, arguments.config, "model.config.")
        fields = dict(arguments.config)
        if getattr(dataset, "id2label", None) is not None and "id2label" not in fields:
            fields["id2label"] = {int(key): value for key, value in dataset.id2label.items()}
            fields["label2id"] = {value: key for key, value in fields["id2label"].items()}
        if getattr(dataset, "stuff_class_ids", None) is not None:
            fields.setdefault("stuff_class_ids", list(dataset.stuff_class_ids))
        return ProScaleForOpenVocabularySegmentation.from_clip(str(self.pretrained), **fields)

    def build_model(self, dataset: Any, load_backbone: bool = True) -> nn.Module:
        """Builds the model: started from a CLIP, or from a folder."""
        if not self.starts_from_clip():
            return super().build_model(dataset, load_backbone)
        model = self.start(dataset)
        if self.arguments.model.backbone is not None and load_backbone:
            load_backbone_weights(model, self.arguments.model.backbone)
        return model

    def build_processor(self, model: nn.Module) -> Any:
        """Loads image processor and tokenizer of `model.pretrained`; beside a CLIP's tokenizer the former is ours.

        Raises:
            ValueError: `model.pretrained` is missing: names would be learned from a CLIP that knows none.
        """
        arguments: ModelArguments = self.arguments.model
        if self.pretrained is None:
            raise ValueError(
                "model.pretrained must be a CLIP (a folder or Hub id such as openai/clip-vit-large-patch14-336) or a "
                "folder of this architecture, such as a recipe of task contrastive writes."
            )
        if not self.starts_from_clip():
            return load_processor(arguments)
        config: Any = model.config
        made: Any = PROCESSOR_MAPPING[type(config)]
        # Its own settings: those in a CLIP's folder are for images of CLIP.
        own = ModelArguments(backbone=arguments.backbone, processor=arguments.processor)
        return made(build_image_processor(own, model), CLIPTokenizer.from_pretrained(self.pretrained))

    def offered(self, dataset: Any, model: nn.Module, processor: Any) -> dict[str, Any]:
        """Adds the embedded names, made on the accelerator, by one process per machine first."""
        state = PartialState()
        with state.local_main_process_first():  # the others read what it left on disk
            network: Any = model
            home = network.device
            network.to(state.device)
            names = prompt_names(dataset.id2label)
            embeddings = embed_classes(network, processor, dataset.id2label, names, self.templates)
            network.to(home)
        return {**super().offered(dataset, model, processor), "text_embeds": embeddings.cpu()}

    # ------------------------------------------------------------------------------------------------ during the run

    def check_labels(self, dataset: Any, options: Mapping[str, Any]) -> None:
        """See `measurable_tasks`."""
        measurable_tasks(dataset, options["tasks"], rank=1)

    def measure(
        self, model: nn.Module, processor: Any, dataset: Any, options: Mapping[str, Any], *, rank: int, ranks: int
    ) -> dict[str, float]:
        """See `evaluate_open_vocabulary`."""
        threshold, tasks = options["threshold"], cast(Sequence[str], options["tasks"])
        thresholds = {} if threshold is None else {"threshold": float(threshold)}
        share = {"rank": rank, "ranks": ranks}
        return evaluate_open_vocabulary(model, processor, dataset, tasks, self.templates, thresholds, **share)

    def overlays(self, model: nn.Module, processor: Any, dataset: Any, count: int) -> list[Any]:
        """None: names are drawn by `hfseg evaluate`."""
        return []
