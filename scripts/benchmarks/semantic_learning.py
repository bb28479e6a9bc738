# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Learning of VPNeXt's parts under one budget, and beside transformers' SegFormer and EoMT on the same loop.

The modes of the paper's ablation: deep supervision, VCR instead of it, ViTUp with one iteration of HiCLR, with three.
The seed of a run, for weights, order and augmentation, is the same for all modes.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate.utils import set_seed
from torch import nn

from hfseg.data.collators.collation import SemanticCollator, UniversalCollator
from hfseg.evaluation.segmentation import evaluate_segmentation
from hfseg.training import load_recipe, train
from hfseg.training.normalization import count_labeled_pixels
from hfseg.training.quickstart import load_data
from hfseg.training.tasks.base import build_image_processor, build_model, build_transforms

from .learning import as_masks

# Mode -> what it changes of the recipe, and the paper's mean IoU with ViT-L on Pascal Context.
MODES: dict[str, tuple[dict[str, Any], float | None]] = {
    "linear": ({"use_vitup": False, "use_vcr": False}, None),
    "ds": ({"use_vitup": False, "vcr_mode": "ds"}, 66.50),
    "align": ({"use_vitup": False, "vcr_mode": "align"}, None),
    "vcr": ({"use_vitup": False}, 68.83),
    "vcr+mock": ({"vitup_upsampler": "mock_pyramid"}, 69.01),
    "vcr+hiclr1": ({"hiclr_iterations": 1}, 69.50),
    "vcr+hiclr3": ({"hiclr_iterations": 3}, 70.00),
    "hiclr3": ({"hiclr_iterations": 3, "use_vcr": False}, None),
}
PEERS = ("transformers:segformer", "transformers:eomt")
DEFAULT_MODES = ("ds", "vcr", "vcr+hiclr1", "vcr+hiclr3")
NOTES = [
    "All runs: the same loop, data, order, augmentation, updates and learning rate per seed, from random weights "
    "unless model.backbone names a folder; mean IoU over classes from one confusion matrix of the held-out split, at "
    "the images' own size, single scale.",
    "ds: deep supervision of two blocks. vcr: context replay in its place. vcr+hiclrN: with ViTUp and N iterations. "
    "The first two classify at a 16th of the resolution, the others at a quarter.",
    "paper: ViT-L on Pascal Context, pre-trained. Its differences, not its values, can be compared.",
    "spread: largest minus smallest over seeds.",
]


def peer_model(name: str, config: Any) -> nn.Module:
    """Builds a peer of transformers of similar size, from random weights.

    EoMT has the same ViT with the queries in its last two blocks; SegFormer has its own backbone.

    Raises:
        ValueError: For another name.
    """
    labels = {"id2label": config.id2label, "label2id": config.label2id}
    vit = config.backbone_config
    if name == "transformers:segformer":
        from transformers import SegformerConfig, SegformerForSemanticSegmentation

        return SegformerForSemanticSegmentation(
            SegformerConfig(
                depths=[2, 2, 2, 2],
                hidden_sizes=[16, 32, 80, 128],
                decoder_hidden_size=128,
                mlp_ratios=[4] * 4,
                **labels,
            )
        )
    if name == "transformers:eomt":
        from transformers import EomtDinov3Config, EomtDinov3ForUniversalSegmentation

        model = EomtDinov3ForUniversalSegmentation(
            EomtDinov3Config(
                hidden_size=vit.hidden_size,
                intermediate_size=vit.intermediate_size,
                num_hidden_layers=vit.num_hidden_layers,
                num_attention_heads=vit.num_attention_heads,
                num_register_tokens=vit.num_register_tokens,
                pos_embed_rescale=None,
                patch_size=vit.patch_size,
                num_upscale_blocks=(vit.patch_size // 4).bit_length() - 1,  # masks at a quarter of the size
                num_blocks=2,
                num_queries=20,
                train_num_points=1024,
                **labels,
            )
        )

        def set_grid(module: Any, args: tuple, kwargs: dict) -> None:
            # The class is made for one image size, and everything but this attribute follows the input.
            pixel_values = kwargs["pixel_values"] if "pixel_values" in kwargs else args[0]
            module.grid_size = tuple(side // vit.patch_size for side in pixel_values.shape[-2:])

        model.register_forward_pre_hook(set_grid, with_kwargs=True)
        return model
    raise ValueError(f"{name!r} is not known: choose of {', '.join((*MODES, *PEERS))}.")


def semantic_learning_table(
    data: str | None,
    overrides: list[str],
    modes: Sequence[str] = DEFAULT_MODES,
    seeds: Sequence[int] = (0, 1, 2),
    done: Callable[[dict[str, list[dict]], list[str]], None] | None = None,
) -> tuple[dict[str, list[dict]], list[str]]:
    """Trains every mode with every seed and compares held-out mean IoU.

    Args:
        data: Folder of images and labels; None for `shapes`.
        overrides: Changes of the recipe, `section.key=value`.
        modes: Keys of `MODES` and names of `PEERS`.
        seeds: Of the runs.
        done: Called with the tables so far after every run.

    Raises:
        ValueError: As the recipe and the data say, or for an unknown mode.
    """
    unknown = [mode for mode in modes if mode not in MODES and mode not in PEERS]
    if unknown:
        raise ValueError(f"--modes {' '.join(unknown)}: choose of {', '.join((*MODES, *PEERS))}.")
    runs: list[dict] = []
    tables: dict[str, list[dict]] = {}
    for seed in seeds:
        for mode in modes:
            runs.append(one_run(data, overrides, mode, seed))
            tables = {f"Learning on {data or 'shapes'}": summary(runs, modes), "Runs": runs}
            if done is not None:
                done(tables, NOTES)
    return tables, NOTES


def one_run(data: str | None, overrides: list[str], mode: str, seed: int) -> dict:
    """Trains and evaluates one model."""
    arguments = load_recipe(f"vpnext-tiny-{'folder' if data else 'shapes'}", overrides)
    arguments.run.seed = seed
    training, held_out = load_data(arguments, data)
    arguments.model.config.update(MODES.get(mode, ({}, None))[0])
    set_seed(seed)
    model: Any = build_model(arguments.model, training.id2label, auto_class="AutoModelForSemanticSegmentation")
    image_processor = build_image_processor(arguments.model, model)
    settings: dict[str, Any] = {
        "ignore_index": training.ignore_index,
        "transforms": build_transforms(arguments.data.transforms),
        "num_labels": model.config.num_labels,
        "size_divisor": 16,
    }
    collate: Callable[[list], Mapping[str, Any]] = SemanticCollator(**settings)
    normalizer = None
    if mode in PEERS:
        set_seed(seed)
        model = peer_model(mode, model.config)
        normalizer = count_labeled_pixels
    if mode == "transformers:eomt":
        from hfseg.models.proscale.image_processing_proscale import ProScaleImageProcessor

        collate, normalizer = as_masks(UniversalCollator(**settings)), None
        image_processor = ProScaleImageProcessor(size=dict(image_processor.size), size_divisor=16)
    start, start_cpu = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        result = train(
            model,
            training,
            collate,
            arguments,
            output_dir=Path(folder) / "run",
            evaluate_fn=lambda trained: evaluate_segmentation(trained, image_processor, held_out, tasks=("semantic",)),
            loss_normalizer=normalizer,
        )
    at_inference = sum(p.numel() for name, p in model.named_parameters() if not name.startswith("vcr."))
    return {
        "mode": mode,
        "seed": seed,
        "parameters at inference (M)": at_inference / 1e6,
        "updates": result.state.step,
        "CPU minutes": (time.process_time() - start_cpu) / 60,
        "minutes": (time.perf_counter() - start) / 60,
        **{metric: round(value, 2) for metric, value in result.metrics.items()},
    }


def summary(runs: Sequence[Mapping[str, Any]], modes: Sequence[str]) -> list[dict]:
    """Mean and spread of the mean IoU per mode, beside the paper's, and the gain over the mode before."""
    rows: list[dict] = []
    for mode in modes:
        values = [run["mean_iou"] for run in runs if run["mode"] == mode]
        if not values:
            continue
        rows.append(
            {
                "mode": mode,
                "parameters at inference (M)": next(
                    run["parameters at inference (M)"] for run in runs if run["mode"] == mode
                ),
                "seeds": len(values),
                "mean_iou": statistics.mean(values),
                "spread": max(values) - min(values),
                "deviation": statistics.stdev(values) if len(values) > 1 else None,
                "CPU minutes": statistics.mean(run["CPU minutes"] for run in runs if run["mode"] == mode),
                "paper": MODES[mode][1] if mode in MODES else None,
            }
        )
    return rows
