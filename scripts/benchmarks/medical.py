# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Learning on medical volumes beside MONAI's networks: one loader, one loop, one budget of processor time."""

import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from accelerate.utils import set_seed
from safetensors.torch import save_model
from torch import nn
from transformers import AutoModelForSemanticSegmentation

from hfseg.data.readers.medical import MedicalCollator, MedicalSlices, check_disjoint
from hfseg.data.readers.medical_layouts import medical_cases
from hfseg.evaluation.medical import evaluate_volumes
from hfseg.training import load_recipe, train
from hfseg.training.tasks.base import build_model

NOTES = [
    "All sides: the same cases, slices, augmentation, batch, AdamW, schedule, loop; updates follow from one budget of "
    "processor time (one thread), measured on some batches. 3-D Dice per class is the mean over the validation "
    "volumes in their own voxels; no test-time augmentation, no clean-up of components.",
    "MONAI's networks are trained with MONAI's DiceCELoss and see the same 2.5-D slices; they are 2-D like ours.",
    "Atlas: the most frequent training label per voxel after centering (figures published with the data).",
]
WARM, TIMED = 2, 6


class MonaiNetwork(nn.Module):
    """A MONAI network with the interface of a Hugging Face model: MONAI's own loss, logits in an output object."""

    def __init__(self, network: nn.Module):
        super().__init__()
        from monai.losses import DiceCELoss

        self.network, self.criterion = network, DiceCELoss(to_onehot_y=True, softmax=True)

    def forward(self, pixel_values: torch.Tensor, labels: torch.Tensor | None = None) -> Any:
        """Predicts logits and, with labels, the loss."""
        logits = self.network(pixel_values)
        if labels is None:
            return SimpleNamespace(logits=logits)
        return {"loss": self.criterion(logits.float(), labels[:, None]), "logits": logits}

    def save_pretrained(self, folder: str | Path, **_: Any) -> None:
        """Writes the weights."""
        save_model(self, str(Path(folder) / "model.safetensors"))  # DynUNet holds its blocks twice


def build_side(name: str, arguments: Any, id2label: Mapping[int, str]) -> nn.Module:
    """Builds one side: `ours`, `ours-static`, `ours-last` (ablations), `monai-unet` or `monai-dynunet`.

    Raises:
        ValueError: Another name.
    """
    classes = len(id2label)
    if name == "monai-unet":
        from monai.networks.nets import UNet

        return MonaiNetwork(
            UNet(2, 3, classes, channels=(32, 64, 128, 256), strides=(2, 2, 2), num_res_units=2, norm="instance")
        )
    if name == "monai-dynunet":
        from monai.networks.nets import DynUNet

        return MonaiNetwork(
            DynUNet(2, 3, classes, [3] * 4, [1, 2, 2, 2], [2] * 3, filters=[24, 48, 96, 192], res_block=False)
        )
    changes: dict[str, dict[str, Any]] = {
        "ours": {},
        "ours-static": {"dynamic_class_weights": False, "dynamic_term_balance": False},
        "ours-last": {"neck": "last"},
        "ours-dpt": {"neck": "dpt"},
    }
    if name not in changes:
        raise ValueError(
            f"There is no side {name!r}; must be one of {', '.join([*changes, 'monai-unet', 'monai-dynunet'])}."
        )
    arguments.model.config.update(changes[name])
    return build_model(arguments.model, id2label, auto_class="AutoModelForSemanticSegmentation")


def updates_within(model: nn.Module, batches: list[dict], seconds: float) -> int:
    """Estimates how many updates fit into a budget of processor seconds."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.0)
    times = []
    for batch in batches:
        start = time.process_time()
        model(**batch)["loss"].backward()
        optimizer.step()
        optimizer.zero_grad()
        times.append(time.process_time() - start)
    return max(1, int(seconds / float(np.median(times[WARM:]))))


def measure(model: nn.Module, held_out: MedicalSlices, size: tuple[int, int]) -> dict[str, Any]:
    """Measures whole volumes in native voxels; one row of numbers."""
    results = evaluate_volumes(model.eval(), held_out, size, ("dice", "surface_distance"), batch_size=64, full=True)
    distance = results["surface_distance"]
    return {
        **{f"Dice % {name}": round(entry["dice"], 2) for name, entry in results["dice"]["per_class"].items()},
        "mean Dice %": round(results["dice"]["dice"], 2),
        "ASSD mm": round(distance["assd"], 4),
        "HD95 mm": round(distance["hd95"], 3),
        "NSD 1 mm %": round(distance["nsd"], 2),
        "volumes": results["dice"]["num_cases"],
    }


def medical_learning_table(
    data: str, minutes: float, sides: list[str], overrides: list[str], keep: str | None
) -> tuple[dict[str, list[dict]], list[str]]:
    """Trains sides one after the other and measures each on the validation volumes.

    Args:
        data: Folder with `images/<split>` and `labels/<split>` of NIfTI pairs.
        minutes: Processor time of training, per side.
        sides: See `build_side`.
        overrides: Changes of the recipe `meddensevit-tiny-hippocampus`.
        keep: Folder in which trained models stay; those of ours that are there already are only measured.

    Raises:
        ValueError: As the recipe and the data say.
    """
    import tempfile

    id2label = {0: "background", 1: "anterior", 2: "posterior"}
    training = medical_cases(data, "pairs", "train", "MR")
    held_out = medical_cases(data, "pairs", "val", "MR")
    check_disjoint({"train": training, "val": held_out})
    validation = MedicalSlices(held_out, id2label, input_mode="2.5d")
    slices = MedicalSlices(training, id2label, input_mode="2.5d")
    rows: list[dict] = []
    for side in sides:
        arguments = load_recipe("meddensevit-tiny-hippocampus", overrides)
        settings = dict(arguments.data.collator)
        network_size = (settings["size"][0], settings["size"][1])
        if keep and (Path(keep) / side / "config.json").is_file():
            trained = AutoModelForSemanticSegmentation.from_pretrained(Path(keep) / side)
            rows.append({"model": side, **measure(trained, validation, network_size)})
            continue
        collate = MedicalCollator(**settings)
        set_seed(arguments.run.seed)
        probe = build_side(side, arguments, id2label)
        size = arguments.data.batch_size
        torch.manual_seed(0)
        batches = [
            collate([slices[(n * size + k) * 7 % len(slices)] for k in range(size)]) for n in range(WARM + TIMED)
        ]
        arguments.run.max_steps = updates_within(probe, batches, minutes * 60)
        arguments.schedule.warmup_steps = arguments.run.max_steps // 10
        set_seed(arguments.run.seed)
        model = build_side(side, arguments, id2label)
        with tempfile.TemporaryDirectory() as folder:
            target = Path(keep) / side if keep else Path(folder) / "run"
            cpu, wall = time.process_time(), time.perf_counter()
            result = train(model, slices, collate, arguments, output_dir=target)
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        rows.append(
            {
                "model": side,
                "parameters (M)": sum(parameter.numel() for parameter in model.parameters()) / 1e6,
                "seed": arguments.run.seed,
                "updates": result.state.step,
                "CPU minutes": cpu / 60,
                "minutes": wall / 60,
                **measure(model, validation, network_size),
            }
        )
        print(rows[-1], flush=True)
    return {"Learning on hippocampus MRI (validation volumes)": rows}, NOTES
