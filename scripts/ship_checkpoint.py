# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Puts a trained model into the package: half precision, processor, tokenizer, card.

python scripts/ship_checkpoint.py TRAINED_FOLDER NAME --license LICENSE [--data_terms TEXT]

Writes `src/hfseg/checkpoints/NAME/`. The weights are stored in float16 and the configuration says float32, so that
`from_pretrained` computes in float32. Refuses weights that half precision would turn into infinities, and folders
over 4 MB. Figures are measured afterwards from this folder: `hfseg evaluate --model NAME --dataset SPEC`.
"""

import argparse
import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).parents[1] / "src" / "hfseg" / "checkpoints"
LIMIT = 4 * 2**20
LARGEST_VARIANCE = 2.0**14  # of a batch norm in float16, which ends at 65504
# A path of the machine that trained; its last name is kept.
ABSOLUTE = re.compile(r"(?<![\w.:])/(?:[\w.-]+/)+([\w.-]+)")
# What `from_pretrained` needs besides the weights; everything else of a run stays where it is.
FILES = (
    "config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.json",
    "merges.txt",
)


def half(tensor: torch.Tensor, name: str) -> torch.Tensor:
    """Converts floating-point weights to float16.

    Raises:
        ValueError: If a finite value becomes infinite.
    """
    if not tensor.is_floating_point():
        return tensor
    small = tensor.to(torch.float16)
    if not torch.isfinite(small).all():
        raise ValueError(f"{name} has values that float16 cannot hold (up to {tensor.abs().max():.3g}).")
    return small.contiguous()


def fit_statistics(weights: dict[str, torch.Tensor]) -> None:
    """Halves convolutions, channel by channel, until the variance of what they give fits into float16.

    A batch norm behind a convolution without bias undoes it: mean and variance are halved and quartered with it. The
    norm's epsilon is nothing beside such a variance, so the outputs are the same.
    """
    for name in [key for key in weights if key.endswith(".running_var")]:
        place = name.removesuffix(".running_var")
        block, dot, index = place.rpartition(".")
        before = f"{block}{dot}{int(index) - 1}" if index.isdigit() else ""
        while (large := weights[name] > LARGEST_VARIANCE).any():
            if f"{before}.weight" not in weights or f"{before}.bias" in weights:
                break  # `half` says what does not fit
            weights[f"{before}.weight"][large] *= 0.5
            weights[f"{place}.running_mean"][large] *= 0.5
            weights[name][large] *= 0.25


def store(source: Path, target: Path) -> None:
    """Writes a file of weights in half precision.

    Raises:
        ValueError: A weight does not fit.
    """
    given = load_file(source)
    fit_statistics(given)
    weights = {key: half(value, key) for key, value in given.items()}
    save_file(weights, target, metadata={"format": "pt"})
    target.chmod(0o644)


def ship_parts(source: Path, folder: Path) -> None:
    """Writes the parts of a diffusers pipeline: configurations as they are, weights in half precision."""
    index = json.loads((source / "model_index.json").read_text(encoding="utf-8"))
    # hfseg is there: the folder carries no code, and classes go by their package.
    index["_class_name"] = index["_class_name"][1] if isinstance(index["_class_name"], list) else index["_class_name"]
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
    for part in (name for name, value in index.items() if isinstance(value, list)):
        (folder / part).mkdir(exist_ok=True)
        for file in sorted((source / part).iterdir()):
            if file.suffix == ".safetensors":
                store(file, folder / part / file.name)
            elif file.suffix == ".json":
                shutil.copyfile(file, folder / part / file.name)


def ship(
    source: Path, name: str, license_id: str, data_terms: str | None, settings: dict[str, Any], limit: float = LIMIT
) -> Path:
    """Writes the folder of a shipped checkpoint; `settings` are fields of the image processor that win.

    Raises:
        FileNotFoundError: If the folder has no weights or no configuration.
        ValueError: If a weight does not fit into float16, or the folder would be too large.
    """
    folder = ROOT / name
    folder.mkdir(parents=True, exist_ok=True)
    if (source / "model_index.json").is_file():
        ship_parts(source, folder)
    else:
        store(source / "model.safetensors", folder / "model.safetensors")
    for file in FILES:
        if not (source / file).is_file():
            continue
        shutil.copyfile(source / file, folder / file)
        if file in ("config.json", "preprocessor_config.json"):
            content = json.loads((source / file).read_text(encoding="utf-8"))
            content.pop("auto_map", None)  # hfseg is there: it carries the folder
            content |= {"dtype": "float32"} if file == "config.json" else settings
            (folder / file).write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    card = ModelCard.load(source / "README.md")
    card.data.license = license_id
    card.data.model_name = name
    text = ABSOLUTE.sub(r"\1", re.sub(rf"(?<![\w-]){re.escape(source.resolve().name)}(?![\w-])", name, card.text))
    for result in card.data.eval_results or []:
        result.metric_args = {"command": ABSOLUTE.sub(r"\1", (result.metric_args or {}).get("command", ""))}
    if data_terms:
        text += f"\n\n## Data\n\n{data_terms}\n"
    card.text = text
    card.save(folder / "README.md")
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    if size > limit:
        shutil.rmtree(folder)
        raise ValueError(
            f"{name} would take {size / 2**20:.2f} MiB; a shipped checkpoint may take {limit / 2**20:g} (--limit)."
        )
    return folder


def main() -> int:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path, help="folder that `hfseg train` wrote")
    parser.add_argument("name", help="name of the checkpoint, for example proscale-tiny-nuclei")
    parser.add_argument("--license", required=True, help="license of the weights, as the Hub spells it")
    parser.add_argument("--data_terms", help="a sentence about the origin and the license of the training data")
    parser.add_argument("--processor", nargs="*", default=[], metavar="FIELD=JSON", help="of the image processor")
    parser.add_argument("--limit", type=float, default=LIMIT / 2**20, metavar="MIB", help="largest size of the folder")
    options = parser.parse_args()
    try:
        settings = dict(pair.split("=", 1) for pair in options.processor)
        settings = {key: json.loads(value) for key, value in settings.items()}
        print(ship(options.source, options.name, options.license, options.data_terms, settings, options.limit * 2**20))
    except (FileNotFoundError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
