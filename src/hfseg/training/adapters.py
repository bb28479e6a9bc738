# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Low-rank adapters (LoRA) in transformer backbones, by peft.

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022: a frozen linear layer W gets a trained
W + (alpha / r) B A with B of zeros at the start, so training starts from the model as it is. The adapters are put into
the model itself, whose class, forward and inputs stay what they are; checkpoints hold everything, so resuming is exact.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file
from torch import nn

from .arguments import LoraArguments
from .checkpointing import write_tensors

# Projections of attention to queries, keys and values, as transformers, timm and diffusers name them.
ATTENTION_PROJECTIONS = tuple("q_proj k_proj v_proj query key value qkv q k v to_q to_k to_v".split())


# What is adapted where no linear layer is in a backbone: towers of image and text, else the first of the others.
TOWERS = (("vision_model", "text_model"), ("transformer",), ("encoder",))


def below(name: str, modules: list[str]) -> bool:
    """Tells whether one part of a dotted name is among some module names, or the name starts with a dotted one."""
    return any(module in name.split(".") or name == module or name.startswith(f"{module}.") for module in modules)


def adapted_modules(model: nn.Module, arguments: LoraArguments, backbone_names: list[str]) -> list[str]:
    """Names the modules whose linear layers are adapted: the recipe's, the backbone, or else the model's towers."""
    if arguments.modules:
        return arguments.modules
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if any(below(name, backbone_names) for name in linear):
        return backbone_names
    towers = [[tower for tower in group if any(below(name, [tower]) for name in linear)] for group in TOWERS]
    return next(filter(None, towers), backbone_names)


class FrozenStatistics:
    """Hook before a model's forward: batch normalization of frozen parts keeps its statistics, which no adapter holds.

    Args:
        modules: Names of the adapted modules, which are frozen but for the adapters; None: all is frozen.
    """

    def __init__(self, modules: list[str] | None) -> None:
        self.modules = modules

    def __call__(self, model: nn.Module, arguments: Any) -> None:
        """Puts these layers into evaluation mode, whatever mode the model was put into."""
        for name, module in model.named_modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                if self.modules is None or below(name, self.modules):
                    module.eval()


def adapter_targets(model: nn.Module, arguments: LoraArguments, backbone_names: list[str]) -> list[str]:
    """Lists the linear layers that get an adapter, by full name.

    Raises:
        ValueError: There is none; what there is instead is named.
    """
    modules = adapted_modules(model, arguments, backbone_names)
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and below(name, modules)]
    wanted = arguments.targets or ATTENTION_PROJECTIONS
    found = [name for name in linear if name.rpartition(".")[2] in wanted or name in wanted]
    if not found:
        present = sorted({re.sub(r"\d+\.", "", name.rpartition(".")[2]) for name in linear})
        raise ValueError(
            f"lora: no linear layer called {', '.join(wanted)} below {', '.join(modules)}; there are "
            f"{', '.join(present) or 'no linear layers'}. Set lora.targets or lora.modules."
        )
    return found


def add_adapters(model: nn.Module, arguments: LoraArguments, backbone_names: list[str]) -> Any:
    """Puts adapters into a model and freezes the rest of the backbone, statistics too; returns peft's configuration.

    Raises:
        ImportError: peft is missing.
        ValueError: Nothing fits the targets, or what is trained cannot be saved as the recipe says.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ImportError("lora needs peft: pip install 'hfseg[lora]'.") from error
    modules = adapted_modules(model, arguments, backbone_names)
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    config = LoraConfig(
        r=arguments.r,
        lora_alpha=cast(int, arguments.alpha),  # any positive number scales
        lora_dropout=arguments.dropout,
        target_modules=adapter_targets(model, arguments, backbone_names),
        bias="none",
    )
    inject_adapter_in_model(config, model)
    model.register_forward_pre_hook(FrozenStatistics(modules if arguments.train_rest else None))
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            parameter.requires_grad_(True)
        else:
            parameter.requires_grad_(arguments.train_rest and name in trainable and not below(name, modules))
    if arguments.train_rest and arguments.save != "merged":
        rest_modules(model, modules)  # what cannot be saved is said before training
    return config


def merge_adapters(model: nn.Module, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Takes the adapters out of a model, in place, and adds them to given weights: a plain model of the same function.

    Args:
        model: With adapters; afterwards its modules are the original ones, with their frozen weights.
        weights: Its weights by name (gathered, if they are sharded).

    Returns:
        Weights by the plain model's names: W + (alpha / r) B A where there was an adapter.
    """
    from peft.tuners.lora import LoraLayer

    layers = {name: layer for name, layer in model.named_modules() if isinstance(layer, LoraLayer)}
    merged = dict(weights)
    for name, layer in layers.items():
        down, up = (merged.pop(f"{name}.lora_{side}.default.weight") for side in "AB")  # (r, I), (O, r)
        weight = merged.pop(f"{name}.base_layer.weight")
        change = layer.scaling["default"] * (up.float() @ down.float())
        merged[f"{name}.weight"] = (weight.float() + change).to(weight.dtype)
        if f"{name}.base_layer.bias" in merged:
            merged[f"{name}.bias"] = merged.pop(f"{name}.base_layer.bias")
        parent, _, child = name.rpartition(".")
        setattr(model.get_submodule(parent), child, layer.get_base_layer())
    return merged


def rest_modules(model: nn.Module, modules: list[str]) -> list[str]:
    """Lists the largest modules with weights that hold no part of the adapted ones.

    Raises:
        ValueError: A trained weight stands beside the adapted modules in one module, where peft cannot name it alone.
    """

    def visit(module: nn.Module, name: str) -> Iterator[str]:
        if below(name, modules) or not any(True for _ in module.parameters()):
            return
        holds = [inner for inner, _ in module.named_modules(prefix=name) if inner != name and below(inner, modules)]
        if not holds:
            yield name
            return
        own = [key for key, parameter in module.named_parameters(recurse=False) if parameter.requires_grad]
        if own:
            weight = f"{name}.{own[0]}".lstrip(".")
            raise ValueError(f"lora.save: adapter cannot hold the weight {weight} by itself; use save: merged.")
        for child_name, child in module.named_children():
            yield from visit(child, f"{name}.{child_name}" if name else child_name)

    return list(visit(model, ""))


def save_pipeline_adapter(folder: Path) -> None:
    """Writes an adapter folder of `save_adapter` in diffusers' form too: `pipe.load_lora_weights(folder)`.

    The settings that scale it, alpha and rank, are in the file's metadata, as diffusers itself writes them.
    """
    from .. import auto

    (place,) = [row.adapter_converter for row in auto.ARCHITECTURES if row.adapter_converter is not None]
    convert = auto.load(place)
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    tensors, settings = convert(load_file(folder / "adapter_model.safetensors"), config)
    write_tensors(folder / "pytorch_lora_weights.safetensors", tensors, {"lora_adapter_metadata": settings})


def save_adapter(
    model: nn.Module,
    weights: Mapping[str, torch.Tensor],
    config: Any,
    arguments: LoraArguments,
    backbone_names: list[str],
    base: str | None,
    folder: Path,
) -> None:
    """Writes adapters, and what was trained beside them, in peft's form: `PeftModel.from_pretrained(base, folder)`.

    Args:
        model: With adapters.
        weights: Its weights by name.
        config: What `add_adapters` returned.
        arguments: The recipe's section.
        backbone_names: As in `add_adapters`.
        base: Folder or Hub id that the run started from, kept for whoever loads the adapter.
        folder: Is made.
    """
    tensors = {
        f"base_model.model.{name.replace('.default.', '.')}": tensor
        for name, tensor in weights.items()
        if ".lora_A.default." in name or ".lora_B.default." in name
    }
    if arguments.train_rest:
        rest = rest_modules(model, adapted_modules(model, arguments, backbone_names))
        config.modules_to_save = rest
        for name, tensor in weights.items():
            if any(name.startswith(f"{module}.") for module in rest):
                tensors[f"base_model.model.{name}"] = tensor
    config.base_model_name_or_path = base
    config.inference_mode = True
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(str(folder))
    write_tensors(folder / "adapter_model.safetensors", tensors)
