# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What a pre-trained UniSegFormer knows: hidden pixels, which text belongs to which image, classes of pixels."""

from pathlib import Path
from typing import Any

import torch
from accelerate.utils import set_seed
from PIL import Image
from transformers import AutoTokenizer

from accelerate import Accelerator
from hfseg.data.collators.collation import IMAGENET_MEAN, IMAGENET_STD
from hfseg.losses.masked_image import masked_reconstruction_loss, unit_pixels
from hfseg.results.drawing import image_grid
from hfseg.training import load_recipe
from hfseg.training.tasks import build_task

NOTES = [
    "reconstruction: mean absolute error of hidden pixels, in standard deviations of ImageNet's colors, over held-out "
    "images. Of 'mean of what is seen': every hidden pixel is the mean color of the image's visible units.",
    "text_retrieval_K: the image's own text is among the K most similar of all held-out texts, in percent; "
    "image_retrieval_K the other way round; images are seen whole. Chance: K in the number of pairs.",
    "probe_mean_iou: mean IoU of a linear classifier of the decoder's finest map (the network is frozen). A run "
    "without segments never trained the decoder: its probe reads what random convolutions leave of the encoder.",
]


def pretraining_tables(
    folder: str, overrides: list[str], image: str | None = None, shown: int = 4
) -> tuple[dict[str, list[dict]], list[str]]:
    """Measures a pre-trained folder, a fresh network of the same sizes, and a guess without a network.

    Args:
        folder: Left by `train --recipe unisegformer-tiny-shapes-pretraining`.
        overrides: Changes of that recipe: held-out data, `run.evaluation.probe_images`.
        image: PNG file for reconstructions: image, what is seen, what is predicted.
        shown: Images in it.
    """
    arguments = load_recipe("unisegformer-tiny-shapes-pretraining", overrides)
    set_seed(arguments.run.seed)
    task: Any = build_task(arguments)
    held_out = task.build_validation_dataset()
    fresh: Any = task.build_model(held_out)
    arguments.model.pretrained = folder
    trained: Any = task.build_model(held_out)
    preparation = task.build_processor(trained)
    # The texts must be cut as they were in training.
    preparation.tokenizer = AutoTokenizer.from_pretrained(folder)
    collate = task.build_collator(held_out, trained, preparation, training=False)
    rows = []
    for name, model in (("pre-trained", trained), ("fresh", fresh)):
        with torch.no_grad():
            numbers = task.evaluate(model.eval(), preparation, held_out, collate, Accelerator(cpu=True))
        rows.append({"network": name, "pairs": len(held_out), **numbers})
    rows.append(
        {"network": "mean of what is seen", "pairs": len(held_out), "reconstruction": guess(trained, task, held_out)}
    )
    if image is not None:
        path = Path(image)
        path.parent.mkdir(parents=True, exist_ok=True)
        reconstructions(trained, [held_out[index] for index in range(shown)], collate).save(path)
    return {"Pre-training on held-out pairs": rows}, NOTES


def normalized(example: Any) -> torch.Tensor:
    """Normalizes one image. Shape: `(1, 3, H, W)`."""
    pixels = torch.from_numpy(example["image"].copy()).permute(2, 0, 1)[None].float() / 255
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    return (pixels - mean) / deviation


def guess(model: Any, task: Any, dataset: Any) -> float:
    """Measures the mean color of the visible units as prediction; hidden units are those of the task's evaluation."""
    generator, size, errors = torch.Generator().manual_seed(0), task.arguments.data.batch_size, []
    for start in range(0, len(dataset), size):
        pixels = torch.cat([normalized(dataset[index]) for index in range(start, min(start + size, len(dataset)))])
        hidden = model.draw_mask(pixels, generator)
        unit = model.config.mim_patch
        rows, columns = (-(-side // unit) for side in pixels.shape[-2:])
        seen = (~unit_pixels(hidden, unit, rows, columns))[..., : pixels.shape[-2], : pixels.shape[-1]].float()
        mean = (pixels * seen).sum((2, 3), keepdim=True) / seen.sum((2, 3), keepdim=True)
        guessed = mean.expand(-1, -1, rows * unit, columns * unit)
        errors.append(masked_reconstruction_loss(guessed, pixels, hidden, unit).item() * len(pixels))
    return sum(errors) / len(dataset)


@torch.no_grad()
def reconstructions(model: Any, examples: list[dict[str, Any]], collate: Any, seed: int = 1) -> Image.Image:
    """Draws images, their visible units, and the prediction of the hidden ones between the visible."""
    generator = torch.Generator().manual_seed(seed)
    mean, deviation = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))
    shown, titles = [], []
    for example in examples:
        pixels = normalized(example)
        hidden = model.draw_mask(pixels, generator)
        predicted = model(pixel_values=pixels, masked_units=hidden).reconstruction
        unit = model.config.mim_patch
        height, width = pixels.shape[-2:]
        where = unit_pixels(hidden, unit, -(-height // unit), -(-width // unit))[0, :, :height, :width]
        original = pixels[0] * deviation + mean
        filled = torch.where(where, predicted[0, :, :height, :width] * deviation + mean, original)
        for title, values in (
            ("image", original),
            ("seen", torch.where(where, torch.full_like(original, 0.5), original)),
            ("reconstructed", filled),
        ):
            array = (values.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
            shown.append(Image.fromarray(array).resize((2 * width, 2 * height), Image.Resampling.NEAREST))
            titles.append(title)
    return image_grid(shown, columns=6, titles=titles)
