# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""PRO-SCALE from a Mask2Former: a warm start for the one loop, and distillation from the whole Mask2Former.

    hfseg train --recipe proscale-from-mask2former --data IMAGES model.pretrained=FOLDER --output_dir DIR

`model.pretrained` is the folder (or Hub id) of a Mask2Former. With `model.task: universal` it only starts the model,
which then learns from labels; with `model.task: distillation` it also teaches it, and labels are used if there are any.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig

from accelerate import Accelerator

from ...data.collators.collation import UniversalCollator
from ...data.readers.folders import label_folder_of, load_folder
from ...data.readers.layouts import find_layout
from ...losses.distillation import mask_distillation_loss
from ...losses.mask_classification import LossWeights
from ...training.tasks.base import check_config_fields
from ...training.tasks.closed_vocabulary import UniversalTask
from ...training.tasks.masked_image import Images
from .configuration_proscale import ProScaleConfig
from .convert_mask2former import from_mask2former, read_processor
from .modeling_proscale import ProScaleForUniversalSegmentation

__all__ = ["DistillationTask", "DistilledModel", "ProScaleTask", "load_images"]

HELD_OUT = 10  # every tenth image without labels


class UnlabeledImages(Images):
    """Images without labels, at any depth of a folder; those of a split, or all but a tenth.

    Args:
        path: The folder.
        split: "train" or another name; a folder of this name, else the division.

    Raises:
        FileNotFoundError: There is no such folder, or no image in it.
    """

    def __init__(self, path: str | Path, split: str | None = None) -> None:
        super().__init__(path, split)
        folder = Path(path).expanduser()
        divided = any(split in file.relative_to(folder).parts[:-1] for file in self.files)
        if split is not None and not divided and len(self.files) > 1:
            held_out = self.files[::HELD_OUT]
            self.files = [file for file in self.files if (file in held_out) == (split != "train")]


def load_images(path: str | Path, split: str | None = None, **options: Any) -> Any:
    """Opens a folder with labels as `load_folder` does, and one without as images alone.

    Args:
        path: Folder, or a COCO json.
        split: "train", "validation" or another name.
        **options: Of `load_folder`.

    Raises:
        FileNotFoundError, ValueError: As `load_folder`; no image.
    """
    place = Path(path).expanduser()
    labeled = not place.is_dir() or label_folder_of(place) is not None or find_layout(place) is not None
    if labeled or list((place / "annotations").glob("*.json")):
        return load_folder(place, split, **options)
    return UnlabeledImages(place, split)


class DistillationCollator(UniversalCollator):
    """`UniversalCollator`, without labels where there are none or none are wanted.

    Args:
        labels: Whether batches have `mask_labels` and `class_labels`; default: if the dataset has classes.
        (the others): As `UniversalCollator`.
    """

    def __init__(
        self,
        labels: bool = True,
        ignore_index: int = 255,
        transforms: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
        num_labels: int | None = None,
        size_divisor: int = 32,
        image_mean: Any = (0.485, 0.456, 0.406),
        image_std: Any = (0.229, 0.224, 0.225),
    ) -> None:
        super().__init__(ignore_index, transforms, num_labels, size_divisor, image_mean, image_std)
        self.labels = labels

    def __call__(self, examples: Any) -> dict[str, Any]:
        """Shape: as `UniversalCollator`."""
        batch = super().__call__(examples)
        return batch if self.labels else {"pixel_values": batch["pixel_values"]}


class DistilledModel(nn.Module):
    """A model that learns from another, and from labels if a batch has some.

    The teacher is not one of its modules: it is neither trained nor averaged nor saved.

    Args:
        student: Trained.
        teacher: Of the same classes.
        weight: Of the distillation, beside the labels' 1.
    """

    def __init__(
        self, student: ProScaleForUniversalSegmentation, teacher: ProScaleForUniversalSegmentation, weight: float = 1.0
    ) -> None:
        super().__init__()
        self.student, self.weight = student, weight
        self._teacher = (teacher.eval().requires_grad_(False),)  # in a tuple: not registered

    @property
    def config(self) -> ProScaleConfig:
        """The student's configuration."""
        return self.student.config

    def gradient_checkpointing_enable(self, *given: Any, **named: Any) -> None:
        """Recomputes the student's activations in backward."""
        self.student.gradient_checkpointing_enable(*given, **named)

    @torch.no_grad()
    def ask_teacher(self, pixel_values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Predicts with the teacher. Shape: `(B, 3, H, W)` -> `(B, R, K + 1)`, `(B, R, H/4, W/4)`."""
        (teacher,) = self._teacher
        if teacher.device != pixel_values.device:
            teacher.to(pixel_values.device)  # type: ignore[arg-type]
        outputs = teacher(pixel_values)
        return outputs.class_queries_logits, outputs.masks_queries_logits

    def forward(
        self,
        pixel_values: torch.Tensor,
        mask_labels: list[torch.Tensor] | None = None,
        class_labels: list[torch.Tensor] | None = None,
    ) -> dict[str, Any]:
        """Computes the loss.

        Returns:
            `loss`, and its parts in `loss_dict`; those of the distillation begin with `distillation_`.

        Shape:
            pixel_values: `(B, 3, H, W)`; labels as `ProScaleForUniversalSegmentation.forward`.
        """
        config, student = self.config, self.student
        seen: list[Any] = []
        # The label loss and the distillation share one pass: the bare model's output is kept as it goes by.
        hook = student.model.register_forward_hook(lambda module, given, output: seen.append(output))
        try:
            outputs = student(pixel_values, mask_labels=mask_labels, class_labels=class_labels)
        finally:
            hook.remove()
        levels = slice(None) if config.use_auxiliary_loss else slice(-1, None)
        queries = torch.stack(seen[0].queries[levels])
        terms = mask_distillation_loss(
            student.class_predictor(queries),
            torch.stack(seen[0].mask_embeddings[levels]),
            seen[0].pixel_embedding,
            *self.ask_teacher(pixel_values),
            LossWeights(config.class_weight, config.mask_weight, config.dice_weight, config.no_object_weight),
            config.train_num_points,
        )
        losses = {f"distillation_{name}": self.weight * term for name, term in terms.items()}
        losses |= outputs.loss_dict or {}
        return {"loss": torch.stack(list(losses.values())).sum(), "loss_dict": losses}


class ProScaleTask(UniversalTask):
    """Universal segmentation; `model.pretrained` may be a Mask2Former, which then starts the model."""

    def starts_from_mask2former(self) -> bool:
        """Whether `model.pretrained` is a Mask2Former."""
        source = self.pretrained
        return source is not None and AutoConfig.from_pretrained(source).model_type == "mask2former"

    def start(self, dataset: Any) -> ProScaleForUniversalSegmentation:
        """Builds the model from the Mask2Former; classes are the dataset's, whose predictor then is new."""
        arguments = self.arguments.model
        check_config_fields(ProScaleConfig, arguments.config, "model.config.")
        fields = dict(arguments.config)
        id2label = getattr(dataset, "id2label", None)
        if id2label is not None and "id2label" not in fields and not self.knows(id2label):
            fields["id2label"] = {int(key): value for key, value in id2label.items()}
            fields["label2id"] = {value: int(key) for key, value in id2label.items()}
        if getattr(dataset, "stuff_class_ids", None) is not None:
            fields.setdefault("stuff_class_ids", list(dataset.stuff_class_ids))
        return from_mask2former(str(self.pretrained), **fields).model

    def knows(self, id2label: Mapping[int, str]) -> bool:
        """Whether the Mask2Former has these classes, by number and name."""
        own = AutoConfig.from_pretrained(str(self.pretrained)).id2label
        return {int(key): value for key, value in own.items()} == {int(key): value for key, value in id2label.items()}

    def build_model(self, dataset: Any, load_backbone: bool = True) -> nn.Module:
        """Builds the model: new, from a folder, or started from a Mask2Former."""
        return self.start(dataset) if self.starts_from_mask2former() else super().build_model(dataset, load_backbone)

    def build_processor(self, model: nn.Module) -> Any:
        """Builds the image processor: the Mask2Former's, with the recipe's changes."""
        if not self.starts_from_mask2former():
            return super().build_processor(model)
        arguments = self.arguments.model
        stuff = getattr(model.config, "stuff_class_ids", None)
        fused = None if stuff is None else list(stuff)
        return read_processor(str(self.pretrained), **{"label_ids_to_fuse": fused, **arguments.processor})


class DistillationTask(ProScaleTask):
    """Learns from a Mask2Former, `model.pretrained`, from which it also starts.

    Data may have labels of the same classes, which then are learned beside, or none (`data.name: images`).
    `run.evaluation` is that of universal segmentation; without labels the held-out loss is measured.
    """

    datasets = {
        **UniversalTask.datasets,
        "images": "hfseg.models.proscale.training_proscale:load_images",
    }
    collators = {"distillation": "hfseg.models.proscale.training_proscale:DistillationCollator"}
    default_collator = "distillation"

    def build_model(self, dataset: Any, load_backbone: bool = True) -> nn.Module:
        """Builds student and teacher.

        Raises:
            ValueError: `model.pretrained` is no Mask2Former; the dataset has other classes.
        """
        if not self.starts_from_mask2former():
            raise ValueError(
                f"model.pretrained is {self.arguments.model.pretrained!r}; distillation needs the folder or Hub id of "
                "a Mask2Former."
            )
        id2label = getattr(dataset, "id2label", None)
        if id2label is not None and not self.knows(id2label):
            raise ValueError(
                f"The dataset has {len(id2label)} classes that are not those of {self.arguments.model.pretrained}, "
                "which can teach its own only: set model.task=universal to start from it without a teacher, or give "
                "images without labels."
            )
        student = self.start(dataset)
        stuff = list(student.config.stuff_class_ids or ())
        teacher = from_mask2former(str(self.arguments.model.pretrained), stuff_class_ids=stuff).model
        return DistilledModel(student, teacher)

    def offered(self, dataset: Any, model: nn.Module, processor: Any) -> dict[str, Any]:
        """Offers collators `labels` too: whether there are any."""
        labeled = getattr(dataset, "id2label", None) is not None
        return {**super().offered(dataset, model, processor), "labels": labeled}

    def inner(self, model: nn.Module) -> nn.Module:
        """The student."""
        return model.student  # type: ignore[return-value]

    def evaluate(
        self,
        model: nn.Module,
        processor: Any,
        dataset: Any,
        collate: Callable[[list], Mapping[str, Any]],
        accelerator: Accelerator,
    ) -> dict[str, float]:
        """Measures the student as universal segmentation; without labels, the loss."""
        if getattr(dataset, "id2label", None) is None:
            return self.evaluate_loss(model, dataset, collate, accelerator)
        return super().evaluate(self.inner(model), processor, dataset, collate, accelerator)

    def overlays(self, model: nn.Module, processor: Any, dataset: Any, count: int) -> list[Any]:
        """Draws image, ground truth and the student's prediction side by side."""
        return super().overlays(self.inner(model), processor, dataset, count)

    def save(self, model: nn.Module, folder: Path, state_dict: Mapping[str, torch.Tensor]) -> None:
        """Writes the student."""
        weights = {name.removeprefix("student."): value for name, value in state_dict.items()}
        super().save(self.inner(model), folder, weights)
