# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""`hfseg evaluate --task referring`: measures a model that segments what expressions refer to.

python scripts/evaluate.py --task referring --model DIR --dataset refcoco:ROOT --split testA --output_dir DIR

Writes `metrics.json`, with both of the CRIS authors' protocols (every sentence of a referent, and its first sentence),
`overlays/` and `report.html`.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoProcessor

from accelerate import PartialState

from ..data.readers.refer import REFER_SPLITS, ReferLmdbDataset, load_refer, load_refer_json
from ..data.synthetic.referring_shapes import ReferringShapesDataset
from ..evaluation.referring import PROTOCOLS, evaluate_referring, referring_overlays
from ..files.model_folders import load_model, loading
from ..files.writing import write_json
from ..pipelines.auto_models import AutoModelForReferringImageSegmentation
from .evaluation_report import EvaluationPage, Shown, write_report

LEGAL = (
    "legal are a .json, .jsonl or .lmdb file, NAME:ROOT or NAME/PARTITION:ROOT of REFER's layout (NAME one of "
    f"{', '.join(sorted({name for name, _ in REFER_SPLITS}))}), and referring-shapes[:key=value,...]"
)
SHAPES_SETTINGS: dict[str, Callable[[str], Any]] = {
    "num_scenes": int,
    "seed": int,
    "combinations": str,
    "none_share": float,
    "image_size": lambda text: (int(text.split("x")[0]), int(text.split("x")[-1])),
}


def open_referring_dataset(specification: str, split: str | None) -> Any:
    """Opens a data set in the referring schema.

    Args:
        specification: See `LEGAL`.
        split: Name of the split; None for validation, or all of a single file.

    Raises:
        FileNotFoundError, ValueError: What is missing or not legal.
    """
    path = Path(specification)
    if path.suffix in (".json", ".jsonl"):
        return load_refer_json(path, split)
    if path.suffix == ".lmdb":
        return ReferLmdbDataset(path)
    name, _, rest = specification.partition(":")
    if name == "referring-shapes":
        return ReferringShapesDataset(split or "validation", **_settings(rest))
    name, _, partition = name.partition("/")
    if rest and name in {known for known, _ in REFER_SPLITS}:
        return load_refer(rest, name, split or "val", partition or None)
    raise ValueError(f"--dataset {specification!r} is not known; {LEGAL}.")


def _settings(text: str) -> dict[str, Any]:
    values: dict[str, Any] = {"num_scenes": 64}
    for item in filter(None, text.split(",")):
        key, _, value = item.partition("=")
        try:
            values[key] = SHAPES_SETTINGS[key](value)
        except (KeyError, ValueError):
            raise ValueError(
                f"--dataset referring-shapes: {item!r} is not legal; settings are {', '.join(SHAPES_SETTINGS)}, as "
                "num_scenes=64, image_size=96 or 96x128 (height x width), combinations=held-out."
            ) from None
    return values


def load_referring_model(folder: str, dtype: torch.dtype) -> tuple[Any, Any]:
    """Loads model and processor of a local folder.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: It holds something else.
    """
    if not (Path(folder) / "config.json").is_file():
        raise FileNotFoundError(f"--model {folder!r}: there is no such folder with a config.json; give a local one.")
    with loading(folder):
        config = AutoConfig.from_pretrained(folder)
        model = load_model(folder, AutoModelForReferringImageSegmentation._model_mapping[type(config)], dtype=dtype)
        return model, AutoProcessor.from_pretrained(folder)


def run_referring(options: argparse.Namespace, dtype: torch.dtype) -> dict[str, Any] | None:
    """Carries out one command line; returns what is in `metrics.json` (None on other ranks than the first).

    Raises:
        FileNotFoundError, ValueError: What is wrong with the options, the model or the data.
    """
    for name in ("mode", "protocol"):
        if getattr(options, name) not in ("single", "default"):
            raise ValueError(f"--{name} {getattr(options, name)} is not for --task referring.")
    on_cpu = options.device == "cpu" or (options.device is None and not torch.cuda.is_available())
    state = PartialState(cpu=True) if on_cpu else PartialState()
    device = torch.device(options.device) if options.device is not None else state.device
    started = time.perf_counter()
    dataset = open_referring_dataset(options.dataset, options.split)
    model, processor = load_referring_model(options.model, dtype)
    model.to(device)
    if options.threshold is not None:
        processor.image_processor.threshold = options.threshold
    numbers = evaluate_referring(
        model, processor, dataset, limit=options.limit, rank=state.process_index, ranks=state.num_processes
    )
    if not state.is_main_process:
        return None
    kinds = numbers.pop("kinds")
    folder = Path(options.output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    report = {
        "metrics": in_percent(numbers),
        "kinds": {kind: in_percent(of_kind) for kind, of_kind in kinds.items()},
        "unit": "percent; num_... are counts",
        "protocols": {"(no prefix)": PROTOCOLS["every"], "first_": PROTOCOLS["first"]},
        "number_of_images": len(dataset) if options.limit is None else min(options.limit, len(dataset)),
        "threshold": processor.image_processor.threshold,
        "dataset": {"specification": options.dataset, "split": options.split},
        "model": {"folder": options.model, "class": type(model).__name__},
        "command": options.command,
        "dtype": options.dtype,
        "device": str(device),
        "processes": state.num_processes,
        "seconds": round(time.perf_counter() - started, 2),
    }
    write_json(folder / "metrics.json", report)
    shown = []
    for position, picture in enumerate(referring_overlays(model, processor, dataset, options.overlays)):
        (folder / "overlays").mkdir(exist_ok=True)
        picture.save(folder / "overlays" / f"{position:02d}.png")
        expression = dataset[position]["expressions"][0]
        shown.append(Shown(f"{position}: {expression}", folder / "overlays" / f"{position:02d}.png"))
    write_report(folder / "report.html", describe_page(report, shown))
    return report


def describe_page(report: dict[str, Any], shown: list[Shown]) -> EvaluationPage:
    """What the page says of an evaluation."""
    metrics = report["metrics"]
    values = {name: f"{value:.2f} %" if "num_" not in name else str(value) for name, value in metrics.items()}
    names = ("num_samples", "mean_iou", "overall_iou", "precision_at_50")
    kinds = [
        {"kind": kind, "expressions": of_kind["num_samples"], "iou": of_kind["mean_iou"],
         "precision at 50": of_kind["precision_at_50"]}
        for kind, of_kind in sorted(report["kinds"].items())
    ]  # fmt: skip
    return EvaluationPage(
        title=f"{Path(report['model']['folder']).resolve().name} on {report['dataset']['specification']}",
        about=f"{report['model']['class']}; {metrics['num_samples']} expressions for {report['number_of_images']} "
        f"referents of the split {report['dataset']['split'] or 'of the file'}.",
        command=report["command"],
        headline={name: values[name] for name in ("overall_iou", "mean_iou", "precision_at_50") if name in values},
        numbers=[
            (name, value, report["protocols"]["first_" if name.startswith("first_") else "(no prefix)"])
            for name, value in values.items()
            if name.removeprefix("first_") in names
        ],
        tables={"Kinds of expressions": kinds},
        pictures={"The first expressions": shown},
        facts={
            "threshold": str(report["threshold"]),
            "device": f"{report['device']}, {report['dtype']}, {report['seconds']:.1f} s",
        },
    )


def in_percent(numbers: dict[str, Any]) -> dict[str, Any]:
    """Multiplies fractions by 100; counts stay."""
    return {name: value if "num_" in name else 100 * value for name, value in numbers.items()}
