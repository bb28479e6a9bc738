# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What float32, bfloat16 and int8 cost on a CPU, and what they change: time, memory, masks, quality of shipped models.

bfloat16 is `dtype=bfloat16` of every door. int8 is PyTorch's dynamic quantization of linear layers, which PyTorch is
going to remove in favor of torchao; it is measured here and not offered.
"""

import copy
import os
import statistics
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hfseg.inference.export import exportable
from hfseg.inference.loading import LoadedModel
from hfseg.inference.precision import computes_in

KINDS = ("float32", "bfloat16", "int8")
NOTES = [
    "ms: CPU time of one thread, medians over rounds; the three in one process, in turns; random weights. ratio: "
    "median over rounds of a row's time / float32's. weights MiB: of int8 one byte per weight of a linear layer. peak "
    "MiB: of tensors during a forward pass above weights and input.",
    "same masks: of all pixels of all masks (and classes) of the model with random weights, those that are the same as "
    "in float32; trained models decide less closely. quality: of the shipped model on held-out scenes of the split "
    "test (volumes of val), in percent.",
    "int8: torch.ao.quantization.quantize_dynamic of linear layers.",
]


@dataclass(frozen=True)
class Case:
    """An architecture.

    Attributes:
        build: Makes a model of the paper's size with random weights.
        size: Height and width of its input.
        shipped: Name of the shipped model.
        dataset: What it is evaluated on; `{}` is the number of scenes.
        metric: Key of the number.
        options: Of `hfseg.evaluate`.
    """

    build: Callable[[], nn.Module]
    size: tuple[int, int]
    shipped: str
    dataset: str
    metric: str
    options: dict[str, Any]


def _with_defaults(name: str, config: str) -> nn.Module:
    import hfseg

    return getattr(hfseg, name)(getattr(hfseg, config)())


def _vpnext() -> nn.Module:
    from .semantic_speed import build_ours

    return build_ours("vpnext-lite", "ViT-S")


SHAPES = "shapes:num_scenes={},image_size=96"
CASES: dict[str, Case] = {
    "proscale": Case(
        partial(_with_defaults, "ProScaleForUniversalSegmentation", "ProScaleConfig"), (480, 640),
        "proscale-tiny-shapes", SHAPES, "pq", {"task": "panoptic"},
    ),
    "vpnext": Case(_vpnext, (512, 512), "vpnext-tiny-shapes", SHAPES, "mean_iou", {}),
    "unisegformer": Case(
        partial(_with_defaults, "UniSegFormerForUniversalSegmentation", "UniSegFormerConfig"), (512, 512),
        "unisegformer-tiny-shapes", SHAPES, "pq", {"task": "panoptic"},
    ),
    "meddensevit": Case(
        partial(_with_defaults, "MedDenseViTForSemanticSegmentation", "MedDenseViTConfig"), (224, 224),
        "meddensevit-tiny-hippocampus", "", "dice", {"measures": ["dice"]},
    ),
    "cris": Case(
        partial(_with_defaults, "CrisForReferringImageSegmentation", "CrisConfig"), (416, 416),
        "cris-tiny-shapes", "shapes:num_scenes={},image_size=64", "oiou", {},
    ),
    "unpairseg": Case(
        partial(_with_defaults, "UnpairSegForMaskGeneration", "UnpairSegConfig"), (384, 384),
        "unpairseg-tiny-shapes", SHAPES, "one_box_iou", {"task": "mask-generation", "points_per_side": 4},
    ),
}  # fmt: skip


def in_kind(model: nn.Module, kind: str) -> nn.Module:
    """A copy of a model in one of `KINDS`."""
    own = copy.deepcopy(model).eval()
    if kind == "bfloat16":
        return own.bfloat16()
    if kind == "int8":
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is deprecated
            return torch.ao.quantization.quantize_dynamic(own, {nn.Linear}, dtype=torch.qint8, inplace=True)
    return own


def weights_of(model: nn.Module, kind: str) -> float:
    """MiB of the weights of a float32 model in one of `KINDS`."""
    total = sum(parameter.numel() for parameter in model.parameters())
    linear = sum(module.weight.numel() for module in model.modules() if isinstance(module, nn.Linear))
    size = {"float32": 4 * total, "bfloat16": 2 * total, "int8": 4 * total - 3 * linear}[kind]
    return size / 2**20


def _call(model: nn.Module, inputs: dict[str, Any], kind: str) -> Callable[[], Any]:
    target = exportable(model)
    given = dict(inputs)
    if kind == "bfloat16":
        given["pixel_values"] = given["pixel_values"].bfloat16()

    def run() -> Any:
        with torch.no_grad():
            return target.module(**given)

    return run


def cost_rows(name: str, case: Case, rounds: int) -> list[dict[str, Any]]:
    """Time, memory and agreement of a model with random weights; a row per kind."""
    from .speed import SpeedOptions, measure_memory

    torch.manual_seed(0)
    plain = case.build().eval()
    inputs = exportable(plain).inputs(1, *case.size)
    decide = exportable(plain).decide
    sides = {kind: _call(in_kind(plain, kind), inputs, kind) for kind in KINDS}
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for turn in range(rounds + 1):
        for kind, side in sides.items():
            start = time.process_time()
            side()
            if turn:
                times[kind].append(1e3 * (time.process_time() - start))
    reference = decide([value.float() for value in sides["float32"]()])
    settings = SpeedOptions(size=case.size, device="cpu")
    rows = []
    for kind, side in sides.items():
        decided = decide([value.float() for value in side()])
        same = sum(int((one == other).sum()) for one, other in zip(decided, reference))
        rows.append({
            "architecture": name, "type": kind, "input": f"{case.size[0]}x{case.size[1]}",
            "ms": statistics.median(times[kind]),
            "ratio": statistics.median(own / other for own, other in zip(times[kind], times["float32"])),
            "weights MiB": weights_of(plain, kind), "peak MiB": measure_memory(side, settings),
            "same masks %": 100 * same / sum(one.numel() for one in reference),
        })  # fmt: skip
    return rows


def quality(case: Case, kind: str, scenes: int, volumes: str | None) -> float | None:
    """The shipped model's number in one of `KINDS`; None where its data are not given."""
    import hfseg

    if not case.dataset and volumes is None:
        return None
    task = case.options.get("task")
    loaded: LoadedModel = hfseg.load(case.shipped, task=task if task == "mask-generation" else None)
    loaded = replace(loaded, model=in_kind(loaded.model, kind))
    if case.dataset:
        dataset, given = case.dataset.format(scenes), {"split": "test", **case.options}
    else:
        dataset, given = f"pairs:{volumes}", {"split": "val", "limit": 6, **case.options}
    return float(hfseg.evaluate(loaded, dataset, device="cpu", **given)[case.metric])


def half_precision_table(
    architectures: list[str], rounds: int, scenes: int, volumes: str | None = None
) -> tuple[dict[str, list[dict]], list[str]]:
    """One row per architecture and type, on one thread.

    Args:
        architectures: Of `CASES`, or "lavin_dit".
        rounds: Timed rounds, after one that is not counted.
        scenes: Held-out scenes per shipped model.
        volumes: Folder of labeled volumes, for the medical model.
    """
    torch.set_num_threads(1)
    before = os.getloadavg()[0]
    rows, notes = [], list(NOTES)
    for name in architectures:
        if name == "lavin_dit":
            from .half_precision_lavin_dit import NOTES as OWN_NOTES
            from .half_precision_lavin_dit import lavin_dit_rows

            rows += lavin_dit_rows(rounds, scenes)
            notes = [*notes, *OWN_NOTES]
            continue
        case = CASES[name]
        for row in cost_rows(name, case, rounds):
            measured = quality(case, row["type"], scenes, volumes)
            rows.append({**row, "measure": case.metric, "quality": measured})
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8") if Path("/proc/cpuinfo").is_file() else ""
    known = [
        flag for flag in ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8") if flag in flags
    ]
    machine = f"Flags of the CPU: {' '.join(known)}; it computes in bfloat16: {computes_in(torch.bfloat16)}."
    load = f"Load average of the machine: {before:.1f} before, {os.getloadavg()[0]:.1f} after ({os.cpu_count()} CPUs)."
    return {"float32, bfloat16 and int8": rows}, [*notes, f"{scenes} scenes.", machine, load]
