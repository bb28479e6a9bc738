# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Speed and memory of our models beside transformers' own, both sides interleaved in one process.

Every round runs every side once, in alternating order, so that a change of the machine's load meets all of them; the
ratio of a row is the median over rounds of our time over theirs of the same round. Weights are random but shared
wherever the architectures share them (`from_mask2former`), with deformable offsets spread by about a pixel.
"""

import argparse
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import PreTrainedModel

from hfseg.inference.benchmark import SEED, BenchmarkOptions, interleave, measure_memory, measure_time, precision

from .published import BACKBONES, NUM_CLASSES, encoder_fields

PEER = "transformers"

__all__ = [
    "SEED",
    "SpeedOptions",
    "compare",
    "forward_table",
    "interleave",
    "measure_memory",
    "measure_time",
    "pixel_values",
    "postprocess_table",
    "precision",
]


@dataclass
class SpeedOptions(BenchmarkOptions):
    """What to measure; see `scripts/benchmark.py speed --help`."""

    backbone: str = "Swin-T"
    rows: list[str] = field(default_factory=lambda: ["3,3,3", "1,1,1", "full"])
    output_size: tuple[int, int] = (480, 640)
    segments: int = 10
    peer_layers: int | None = None

    @classmethod
    def from_namespace(cls, options: argparse.Namespace) -> "SpeedOptions":
        """Takes the fields from parsed arguments.

        Raises:
            ValueError: For an unknown backbone or row, counts below one, or a device that is not there.
        """
        settings = cls.checked(options)
        if settings.backbone not in BACKBONES:
            raise ValueError(f"--backbone {settings.backbone!r} is not known: choose one of {', '.join(BACKBONES)}.")
        for row in settings.rows:
            encoder_fields(row)
        return settings

    @classmethod
    def checked(cls, options: argparse.Namespace) -> "SpeedOptions":
        """Takes the fields from parsed arguments and checks what no architecture decides.

        Raises:
            ValueError: For counts below one, or a device that is not there.
        """
        settings = cls(**{name: getattr(options, name) for name in cls.__dataclass_fields__})
        settings.size = (settings.size[0], settings.size[1])
        settings.output_size = (settings.output_size[0], settings.output_size[1])
        settings.check("output_size", "segments")
        return settings


def compare(name: str, ours: list[float], theirs: list[float]) -> dict:
    """Summarizes paired times: medians, minima, and the median, least and largest ratio of a round."""
    ratios = [mine / other for mine, other in zip(ours, theirs)]
    return {
        "row": name,
        "ours ms": statistics.median(ours),
        "theirs ms": statistics.median(theirs),
        "ratio": statistics.median(ratios),
        "ratios": f"{min(ratios):.3f}-{max(ratios):.3f}",
        "ours min ms": min(ours),
        "theirs min ms": min(theirs),
        "ratio of minima": min(ours) / min(theirs),
    }


# ----------------------------------------------------------------------------------------------------------------------
# Forward pass
# ----------------------------------------------------------------------------------------------------------------------
def build_mask2former(backbone: str) -> PreTrainedModel:
    """Builds transformers' Mask2Former for COCO's classes, with random weights."""
    from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation

    torch.manual_seed(SEED)
    config = Mask2FormerConfig(  # type: ignore[call-arg]
        backbone_config=dict(BACKBONES[backbone]),
        num_queries=200 if backbone == "Swin-L" else 100,
        num_labels=NUM_CLASSES["coco"],
    )
    model = Mask2FormerForUniversalSegmentation(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("sampling_offsets.weight", "attention_weights.weight")):
                parameter.normal_(std=0.05)  # of 256 normalized channels: 0.8 pixels
    return model


def forward_table(settings: SpeedOptions) -> tuple[dict[str, list[dict]], list[str]]:
    """Compares forward passes.

    Returns:
        Tables `speed` and `agreement`, and notes.
    """
    from hfseg.models.proscale.modeling_proscale import ProScaleForUniversalSegmentation

    from .agreement import attention_difference, output_difference, steering_difference

    if settings.threads:
        torch.set_num_threads(settings.threads)
    theirs = build_mask2former(settings.backbone)
    ours = {}
    for row in settings.rows:
        torch.manual_seed(SEED)
        model = ProScaleForUniversalSegmentation.from_mask2former(theirs, **encoder_fields(row))
        ours[row] = model.eval().to(settings.place)
    theirs.to(settings.place)  # type: ignore[arg-type]

    # Agreement is that of the mathematics: float32, not compiled.
    sample = pixel_values(settings, 1)
    agreement = []
    for row, model in ours.items():
        steering = steering_difference(model, sample)
        entry = {
            "row": row,
            "attention: max difference": attention_difference(model, sample),
            "steering: max difference": steering["logits"],
            "steering: bits": steering["bits"],
            "steering: flipped": steering["flipped"],
        }
        if row == "full":
            outputs = output_difference(model, theirs, sample)
            entry["classes against transformers"] = outputs["class"]
            entry["masks against transformers"] = outputs["mask"]
            entry["largest mask logit"] = outputs["magnitude"]
            entry["mask bits flipped"] = f"{outputs['flipped']} of {outputs['bits']}"
        agreement.append(entry)

    models = {PEER: theirs, **ours}
    if settings.compile:
        models = {name: torch.compile(model) for name, model in models.items()}
    rows = []
    for batch_size in settings.batch:
        inputs = pixel_values(settings, batch_size)

        def call(model: Callable, inputs: torch.Tensor = inputs) -> Callable[[], Any]:
            def run():
                with torch.no_grad(), precision(settings):
                    return model(pixel_values=inputs)

            return run

        sides = {name: call(model) for name, model in models.items()}
        times = interleave(sides, settings)
        memory = {name: measure_memory(side, settings) for name, side in sides.items()}
        for row in settings.rows:
            entry = compare(row, times[row], times[PEER])
            entry = {"batch": batch_size, **entry, "ours MiB": memory[row], "theirs MiB": memory[PEER]}
            entry["memory ratio"] = memory[row] / memory[PEER]
            rows.append(entry)
    notes = [
        f"{settings.backbone}, input {settings.size[0]}x{settings.size[1]}, {settings.dtype}"
        + (" autocast" if settings.dtype != "float32" else "")
        + f", {'compiled' if settings.compile else 'eager'}, {settings.rounds} rounds; clock: {settings.clock}.",
        "ratio: median over rounds of ours / transformers' Mask2Former (6 encoder layers); smaller is better.",
        "MiB: peak of tensor memory during a forward, above weights and input.",
        "agreement: deformable attention as run against one grid_sample per level; masks that steer the attention "
        "from the pixel embedding resized once against full masks resized; with 'full', outputs against transformers'.",
    ]
    return {"Speed of the forward pass": rows, "Agreement of fast paths with their plain forms": agreement}, notes


def pixel_values(settings: SpeedOptions, batch_size: int) -> torch.Tensor:
    """Draws a batch of noise images."""
    generator = torch.Generator().manual_seed(SEED)
    return torch.randn(batch_size, 3, *settings.size, generator=generator).to(settings.place)


# ----------------------------------------------------------------------------------------------------------------------
# Post-processing
# ----------------------------------------------------------------------------------------------------------------------
def live_outputs(
    num_live: int, num_queries: int, num_labels: int, size: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Makes outputs of a confident model: one blob per cell of a grid, `num_live` queries of them certain.

    Shape:
        Output: class logits `(1, Q, K + 1)` and mask logits `(1, Q, h, w)`.
    """
    generator = torch.Generator().manual_seed(SEED)
    classes = torch.zeros(1, num_queries, num_labels + 1)
    classes[0, :, -1] = 12.0
    live = torch.randperm(num_queries, generator=generator)[:num_live]
    classes[0, live, torch.randint(num_labels, (num_live,), generator=generator)] = 24.0
    cells = math.ceil(num_queries**0.5)
    index = torch.arange(num_queries)
    centers = (torch.stack((index // cells, index % cells), 1) + 0.5) / cells  # (Q, 2)
    centers = (centers + (torch.rand(num_queries, 2, generator=generator) - 0.5) / (2 * cells))[:, :, None, None]
    radii = (0.4 + 0.3 * torch.rand(num_queries, 1, 1, generator=generator)) / cells
    y = torch.linspace(0, 1, size[0])[:, None]
    x = torch.linspace(0, 1, size[1])[None, :]
    distance = ((y - centers[:, 0]) ** 2 + (x - centers[:, 1]) ** 2).sqrt()  # (Q, h, w)
    ripple = torch.sin(40 * x + 6 * centers[:, 0]) * torch.cos(30 * y)
    return classes, (8 * (1 - distance / radii) + ripple).clamp(-12, 12)[None]


def postprocess_table(settings: SpeedOptions) -> tuple[dict[str, list[dict]], list[str]]:
    """Compares panoptic post-processing of one image with transformers' `Mask2FormerImageProcessor`."""
    from transformers import Mask2FormerImageProcessor
    from transformers.models.mask2former.modeling_mask2former import Mask2FormerForUniversalSegmentationOutput

    from hfseg.models.proscale.image_processing_proscale import ProScaleImageProcessor
    from hfseg.models.proscale.modeling_proscale import ProScaleForUniversalSegmentationOutput

    from .agreement import plain_panoptic

    if settings.threads:
        torch.set_num_threads(settings.threads)
    stuff = set(range(80, NUM_CLASSES["coco"]))
    ours, theirs = ProScaleImageProcessor(label_ids_to_fuse=sorted(stuff)), Mask2FormerImageProcessor()
    quarter = ((settings.size[0] + 3) // 4, (settings.size[1] + 3) // 4)
    padded = (4 * quarter[0], 4 * quarter[1])
    rows = []
    for num_live in (100, 20, 0):
        class_logits, masks = (t.to(settings.place) for t in live_outputs(num_live, 100, NUM_CLASSES["coco"], quarter))
        our_outputs = ProScaleForUniversalSegmentationOutput(
            class_queries_logits=class_logits, masks_queries_logits=masks
        )
        peer_outputs = Mask2FormerForUniversalSegmentationOutput(
            class_queries_logits=class_logits, masks_queries_logits=masks
        )

        def run_ours(outputs: Any = our_outputs) -> list:
            return ours.post_process_panoptic_segmentation(
                outputs,
                threshold=0.8,
                overlap_mask_area_threshold=0.8,
                target_sizes=[settings.output_size],
                image_sizes=[padded],
            )

        def run_theirs(outputs: Any = peer_outputs) -> list:
            return theirs.post_process_panoptic_segmentation(
                outputs,
                threshold=0.8,
                overlap_mask_area_threshold=0.8,
                target_sizes=[settings.output_size],
                label_ids_to_fuse=stuff,
            )

        sides = {PEER: run_theirs, "hfseg": run_ours}
        times = interleave(sides, settings)
        memory = {name: measure_memory(side, settings) for name, side in sides.items()}
        result = run_ours()[0]
        plain, segments = plain_panoptic(class_logits[0].cpu(), masks[0].cpu(), padded, settings.output_size, stuff)
        entry = compare(f"{num_live} live queries", times["hfseg"], times[PEER])
        entry |= {"ours MiB": memory["hfseg"], "theirs MiB": memory[PEER]}
        entry["segments"] = len(result["segments_info"])
        entry["plain segments"] = len(segments)
        entry["pixels off plain form"] = int((result["segmentation"].cpu() != plain).sum())
        rows.append(entry)
    notes = [
        f"Panoptic, 100 queries, logits {quarter[0]}x{quarter[1]} to "
        f"{settings.output_size[0]}x{settings.output_size[1]}; {settings.rounds} rounds; clock: {settings.clock}.",
        "Segments differ from transformers' by design (its masks go through 384x384 and lack the mask threshold); the "
        "last columns compare with the authors' rule written out query by query.",
    ]
    return {"Speed of panoptic post-processing": rows}, notes
