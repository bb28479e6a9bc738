# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Pre-training of a backbone on images without labels: hide patches, predict their pixels (SimMIM, CVPR 2022).

The recipe is that of the model to be trained afterwards, with `model.task: masked-image`. What comes out is a folder of
the backbone alone; `model.backbone=FOLDER` starts the real training from it.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from accelerate import Accelerator

from ...data.collators.collation import SemanticCollator
from ...data.readers.images import read_image
from ...files.listing import list_files
from ..protocols import PretrainedSaving
from .base import Task, call, find


class Images:
    """Images of a folder, at any depth, in the semantic schema; every label is void.

    Args:
        path: The folder.
        split: If some images lie in a folder of this name, only those; images that are not divided are all taken.
        suffixes: What counts as an image.

    Raises:
        FileNotFoundError: There is no such folder, or no image in it.
    """

    ignore_index = 255

    def __init__(
        self,
        path: str | Path,
        split: str | None = None,
        suffixes: tuple[str, ...] = (".jpg", ".jpeg", ".png", ".webp"),
    ) -> None:
        folder = Path(path).expanduser()
        files = list_files(folder, suffixes)
        self.files = [file for file in files if split in file.relative_to(folder).parts[:-1]] or files
        if not self.files:
            raise FileNotFoundError(f"{folder} holds no image ({', '.join(suffixes)}), at any depth.")

    def __len__(self) -> int:
        return len(self.files)

    def sample_id(self, index: int) -> str:
        """Names a sample."""
        return str(self.files[index])

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = read_image(self.files[index])
        return {"image": image, "segmentation_map": torch.full(image.shape[:2], self.ignore_index).numpy()}


class ImageCollator(SemanticCollator):
    """`SemanticCollator` without the labels."""

    def __call__(self, examples: Any) -> dict[str, Any]:
        """Shape: `pixel_values`: `(B, 3, H, W)`."""
        return {"pixel_values": super().__call__(examples)["pixel_values"]}


class MaskedImageTask(Task):
    """Masked image modeling of a model's backbone.

    `data.name: images` reads a folder of images without labels; every reader of segmentation data works too, labels
    aside. `run.evaluation` takes `mask_ratio` (0.6).
    """

    pipeline_tag = "image-feature-extraction"
    datasets = {**Task.datasets, "images": "hfseg.training.tasks.masked_image:Images"}
    collators = {"images": "hfseg.training.tasks.masked_image:ImageCollator"}
    default_collator = "images"

    def build_model(self, dataset: Any, load_backbone: bool = True) -> nn.Module:
        """Builds the recipe's model and takes its backbone.

        Raises:
            ValueError: It has no backbone of square patches, or `run.evaluation` has an unknown key.
        """
        self.auto_class = "AutoModel"
        model = super().build_model(dataset, load_backbone)
        if not (hasattr(model, "backbone") and hasattr(model, "patch_size")):
            raise ValueError(
                f"{type(model).__name__} has no plain ViT of its own; task masked-image is for architectures on one."
            )
        given = self.arguments.run.evaluation
        made = find("hfseg.models.masked_image:MaskedImageModel", {}, "model.task")
        return call(made, {"ratio": given.get("mask_ratio", 0.6)}, {"model": model}, "run.evaluation")

    def evaluate(
        self,
        model: nn.Module,
        processor: Any,
        dataset: Any,
        collate: Callable[[list], Mapping[str, Any]],
        accelerator: Accelerator,
    ) -> dict[str, float]:
        """Measures the held-out reconstruction loss, with the same hidden patches every time."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.arguments.run.seed)
            return self.evaluate_loss(model, dataset, collate, accelerator)

    def build_processor(self, model: nn.Module) -> Any:
        """Nothing: the processor belongs to the model that is trained afterwards."""
        return None

    def example(self, name: str) -> str:
        """Shows how it is used; transformers' AutoBackbone (5.23) reads no local folders."""
        return f"# hfseg train --recipe RECIPE model.backbone={name}"

    def save(self, model: nn.Module, folder: Path, state_dict: Mapping[str, torch.Tensor]) -> None:
        """Writes the folder of the backbone."""
        prefix = "backbone."
        weights = {name[len(prefix) :]: value for name, value in state_dict.items() if name.startswith(prefix)}
        cast(PretrainedSaving, model.get_submodule("backbone")).save_pretrained(folder, state_dict=weights)
