# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""LaVin-DiT in recipes: J-DiT on in-context tasks, and the autoencoder below it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import gather_object
from torch import nn

from accelerate import Accelerator

from ... import auto
from .base import Task
from .other import InContextTask

TRAINING = "models.lavin_dit.training_lavin_dit"
READERS = {
    "in-context": "hfseg.data.readers.in_context:InContextDataset",
    "latents": "hfseg.data.readers.latents:LatentDataset",
    "frames": "hfseg.data.readers.in_context:FramesDataset",
}
COLLATORS = {
    "in-context": "hfseg.data.readers.in_context:InContextCollator",
    "latents": "hfseg.data.readers.latents:collate_latents",
    "frames": "hfseg.data.readers.in_context:FramesCollator",
}


class LavinDiTTask(InContextTask):
    """J-DiT. `model.config` has `size` or `transformer`, `vae`, `scheduler` and the objective's arguments.

    A pixel autoencoder with fewer channels than pixels is fitted to `model.config.fit_pictures` samples of the data.
    """

    library_name = "diffusers"
    datasets = READERS
    collators = COLLATORS
    default_collator = "in-context"

    def build_model(self, dataset: Any, load_backbone: bool = True) -> nn.Module:
        """Builds transformer, autoencoder and objective, new or from the folder of a pipeline."""
        model_class = auto.load(f"{TRAINING}:LavinDiTForTraining")
        config = dict(self.arguments.model.config)
        model = model_class.from_recipe(config, self.arguments.model.pretrained)
        if config.get("fit_pictures"):
            model.vae.fit(self._pictures(dataset, int(config["fit_pictures"])))
        return model

    def _pictures(self, dataset: Any, count: int) -> torch.Tensor:
        """Reads queries and targets of the first samples, (2 count, 3, H, W)."""
        collate = self.build_collator(dataset, nn.Identity(), None)
        pictures = []
        for index in range(min(count, len(dataset))):
            batch = collate([dataset[index]])
            pictures += [batch[name][0, -1].transpose(0, 1) for name in ("input_pixels", "target_pixels")]
        return torch.cat(pictures)

    def offered(self, dataset: Any, model: nn.Module, processor: Any) -> dict[str, Any]:
        """Offers collators nothing: pictures are resized by `data.collator`."""
        return {}

    def build_processor(self, model: nn.Module) -> None:
        """Returns None: the pipeline prepares its pictures itself."""

    def example(self, name: str) -> str:
        """Shows the use of the trained pipeline."""
        return (
            "from diffusers import DiffusionPipeline\n\n"
            f'pipe = DiffusionPipeline.from_pretrained("{name}", trust_remote_code=True)\n'
            'print(pipe("query.png", [("input.png", "target.png")]).images[0])'
        )


class AutoencoderTask(Task):
    """ST-VAE with a discriminator: a recipe of two phases, `autoencoder` and `discriminator`."""

    library_name = "diffusers"
    pipeline_tag = "image-to-image"
    datasets = READERS
    collators = COLLATORS
    default_collator = "frames"

    def build_model(self, dataset: Any, load_backbone: bool = True) -> nn.Module:
        """Builds the autoencoder, new or from a folder, with its discriminator."""
        config = dict(self.arguments.model.config)
        spec = self.arguments.model.pretrained or config.pop("vae", {"kind": "st"})
        config.pop("vae", None)
        vae = auto.load(f"{TRAINING}:build_autoencoder")(spec)
        return auto.load(f"{TRAINING}:LavinDiTAutoencoderForTraining")(vae, **config)

    def offered(self, dataset: Any, model: nn.Module, processor: Any) -> dict[str, Any]:
        """Offers collators nothing."""
        return {}

    def build_processor(self, model: nn.Module) -> None:
        """Returns None: there is no processor."""

    def evaluate(
        self,
        model: nn.Module,
        processor: Any,
        dataset: Any,
        collate: Callable[[list], Mapping[str, Any]],
        accelerator: Accelerator,
    ) -> dict[str, float]:
        """Measures the autoencoder's loss and PSNR (decibels, mean over samples); the discriminator's says nothing."""
        parts = self.evaluate_loss(model, dataset, collate, accelerator)
        raw = accelerator.unwrap_model(model, keep_torch_compile=False).eval()
        values = []
        for index in range(accelerator.process_index, len(dataset), accelerator.num_processes):
            pixels = collate([dataset[index]])["pixel_values"].to(accelerator.device)
            with torch.no_grad():
                made, _ = raw.reconstruct(pixels)
            error = (made.float().clamp(-1, 1) - pixels).square().mean()
            values.append(10 * torch.log10(4 / error.clamp(min=1e-10)))
        return {**parts, "psnr": float(np.mean(gather_object([float(value) for value in values])))}

    def save(self, model: nn.Module, folder: Path, state_dict: Mapping[str, torch.Tensor]) -> None:
        """Writes the autoencoder."""
        model.save_pretrained(folder, state_dict=dict(state_dict))  # type: ignore[operator]
