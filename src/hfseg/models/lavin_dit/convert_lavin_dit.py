# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Conversion of the authors' release: `weights/stvae.pt` and `weights/lavin_dit.safetensors`, or either alone.

But for attention's projections both networks keep the authors' parameter names. Sizes are read off the tensors; only
the number of query heads and whether norms are sandwiched (the released class always does) cannot be.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ..checkpoints import check_keys, read_state_dict
from .pipeline_lavin_dit import LavinDiTPipeline
from .scheduling_lavin_dit import LavinDiTScheduler
from .transformer_lavin_dit import LavinDiTTransformer3DModel
from .vae_lavin_dit import SCALING_FACTOR, SHIFT_FACTOR, LavinDiTAutoencoderKL

TRANSFORMER_FILE, VAE_FILE = "lavin_dit.safetensors", "stvae.pt"
# Attention's projections: theirs -> ours.
ATTENTION = {
    "x_q": "to_q",
    "x_k": "to_k",
    "x_v": "to_v",
    "x_qnorm": "norm_q",
    "x_knorm": "norm_k",
    "x_proj": "to_out.0",
    "cond_q": "add_q_proj",
    "cond_k": "add_k_proj",
    "cond_v": "add_v_proj",
    "cond_qnorm": "norm_added_q",
    "cond_knorm": "norm_added_k",
    "cond_proj": "to_add_out",
}
RELEASED_HEADS = {2304: 32}  # hidden size -> query heads of the one released model


def rename(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Gives the authors' J-DiT parameters our names."""
    renamed = {}
    for name, tensor in weights.items():
        before, found, part = name.partition(".joint_attn.")
        own, _, last = part.rpartition(".")
        renamed[f"{before}{found}{ATTENTION[own]}.{last}" if own in ATTENTION else name] = tensor
    return renamed


def transformer_config(weights: dict[str, torch.Tensor], original: dict[str, Any]) -> dict[str, Any]:
    """Derives the configuration of J-DiT from its tensors and, where given, the authors' arguments.

    Raises:
        ValueError: The number of heads cannot be known.
    """
    hidden_size = weights["answer_embed"].shape[-1]
    patch = original.get("patch_size", [2, 2])
    patch_size = int(patch[0] if isinstance(patch, (list, tuple)) else patch)
    if isinstance(patch, (list, tuple)) and len(set(patch)) > 1:
        raise ValueError(f"patch_size is {patch}; only square patches exist.")
    heads = original.get("num_heads") or RELEASED_HEADS.get(hidden_size)
    if heads is None:
        raise ValueError(
            f"The number of attention heads of a model of hidden size {hidden_size} is not in its weights: give "
            'num_heads with --config, e.g. {"transformer": {"num_heads": 8}}.'
        )
    if hidden_size % heads:
        raise ValueError(f"num_heads is {heads}; it must divide the hidden size {hidden_size}.")
    head_dim = hidden_size // heads
    layers = {int(name.split(".")[1]) for name in weights if name.startswith("blocks.")}
    config = {
        "in_channels": weights["x_embedder.0.weight"].shape[1] // patch_size**2,
        "patch_size": patch_size,
        "num_layers": len(layers),
        "num_attention_heads": heads,
        "attention_head_dim": head_dim,
        "num_key_value_heads": weights["blocks.0.joint_attn.x_k.weight"].shape[0] // head_dim,
        "intermediate_size": weights["blocks.0.x_mlp.gate_proj.weight"].shape[0],
        "sandwich_norm": bool(original.get("sandwich_norm", True)),
        "drop_path_rate": float(original.get("drop_path", 0.1)),
        "time_embedding_dim": weights["t_embedder.mlp.0.weight"].shape[1],
    }
    stated = {"depth": "num_layers", "in_channels": "in_channels"}
    for theirs, ours in stated.items():
        if theirs in original and original[theirs] != config[ours]:
            raise ValueError(f"{theirs} is {original[theirs]} in the configuration, but {config[ours]} in the weights.")
    if "kv_group" in original and original["kv_group"] != heads // config["num_key_value_heads"]:
        raise ValueError(
            f"kv_group is {original['kv_group']} in the configuration, but the weights have {heads} query heads on "
            f"{config['num_key_value_heads']} key-value heads."
        )
    return config


def convert_transformer(
    weights: dict[str, torch.Tensor], original: dict[str, Any] | None = None
) -> LavinDiTTransformer3DModel:
    """Builds J-DiT from the authors' state dict.

    Raises:
        ValueError: Keys or shapes do not fit; they are listed.
    """
    needed = (
        "answer_embed",
        "x_embedder.0.weight",
        "t_embedder.mlp.0.weight",
        "blocks.0.joint_attn.x_k.weight",
        "blocks.0.x_mlp.gate_proj.weight",
    )
    check_keys([name for name in needed if name not in weights], [], "LaVin-DiT's transformer")
    config = transformer_config(weights, original or {})
    with torch.device("meta"):
        model = LavinDiTTransformer3DModel(**config)
    return _load(model, rename(weights), "LaVin-DiT's transformer")


def convert_vae(weights: dict[str, torch.Tensor], original: dict[str, Any] | None = None) -> LavinDiTAutoencoderKL:
    """Builds ST-VAE from the authors' state dict, dropping what is neither encoder nor decoder.

    Raises:
        ValueError: Keys or shapes do not fit; they are listed.
    """
    original = original or {}
    weights = {name: tensor for name, tensor in weights.items() if name.startswith(("encoder.", "decoder."))}
    check_keys([name for name in ("encoder.conv_in.conv.weight",) if name not in weights], [], "ST-VAE")
    channels: list[int] = []
    layers = 0
    while f"encoder.down_blocks.{len(channels)}.resnets.0.conv1.conv.weight" in weights:
        channels.append(weights[f"encoder.down_blocks.{len(channels)}.resnets.0.conv1.conv.weight"].shape[0])
    while f"encoder.down_blocks.0.resnets.{layers}.conv1.conv.weight" in weights:
        layers += 1
    config = {
        "in_channels": weights["encoder.conv_in.conv.weight"].shape[1],
        "out_channels": original.get("out_channels", 3),
        "block_out_channels": tuple(channels),
        "down_block_types": ("CogVideoXDownBlock3D",) * len(channels),
        "up_block_types": ("CogVideoXUpBlock3D",) * len(channels),
        "layers_per_block": layers,
        "latent_channels": weights["encoder.conv_out.conv.weight"].shape[0] // 2,
        "norm_num_groups": original.get("norm_num_groups", 32),
        "temporal_compression_ratio": original.get("temporal_compression_ratio", 4),
        "scaling_factor": original.get("scaling_factor", SCALING_FACTOR),
        "shift_factor": original.get("shift_factor", SHIFT_FACTOR),
    }
    with torch.device("meta"):
        model = LavinDiTAutoencoderKL(**config)
    return _load(model, weights, "ST-VAE")


def converter_of(model_class: type) -> Callable[..., Any]:
    """Finds the function that builds a class from the authors' state dict."""
    return convert_vae if issubclass(model_class, LavinDiTAutoencoderKL) else convert_transformer


def _load(model: Any, weights: dict[str, torch.Tensor], what: str) -> Any:
    """Puts a state dict into a model on meta, in the checkpoint's own precision."""
    expected = model.state_dict()
    check_keys(expected.keys() - weights.keys(), weights.keys() - expected.keys(), what)
    wrong = [
        f"{name} {tuple(weights[name].shape)}, expected {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if tensor.shape != weights[name].shape
    ]
    if wrong:
        raise ValueError(f"This is no checkpoint of {what} with these hyperparameters: {'; '.join(wrong[:10])}.")
    model.load_state_dict(weights, assign=True)
    return model.eval().requires_grad_(True)


def convert_files(checkpoint: str | Path, output_dir: str | Path, config: dict[str, Any] | None = None) -> Path:
    """Converts the authors' files to a folder.

    Args:
        checkpoint: Their folder `weights` with both files, which becomes a pipeline; or one of the two, which becomes
            the folder `transformer` or `vae` inside `output_dir`, to be completed by converting the other.
        output_dir: Folder to write.
        config: The authors' hyperparameters under `transformer` and `vae` (or, for one file, bare).

    Returns:
        The folder.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: A file is damaged, unsafe or something else.
    """
    config, path, folder = config or {}, Path(checkpoint), Path(output_dir)
    if path.is_dir():
        files = [path / TRANSFORMER_FILE, path / VAE_FILE]
        missing = [str(file) for file in files if not file.is_file()]
        if missing:
            raise FileNotFoundError(f"{', '.join(missing)} missing; give the folder of both files, or one file.")
        states = [read_state_dict(file) for file in files]
    else:
        states = [read_state_dict(path)]
    parts: dict[str, Any] = {}
    for state in states:
        is_vae = any(name.startswith("encoder.") for name in state)
        name = "vae" if is_vae else "transformer"
        if name in parts:
            raise ValueError(f"Both files hold a {name}.")
        sub_config: dict[str, Any] = config.get(name, {} if "vae" in config or "transformer" in config else config)
        scales: dict[str, Any] = {key: config[key] for key in ("scaling_factor", "shift_factor") if key in config}
        convert_part = convert_vae if is_vae else convert_transformer
        parts[name] = convert_part(state, {**sub_config, **scales})
    for name, other in (("transformer", "vae"), ("vae", "transformer")):
        if name not in parts and (folder / name / "config.json").is_file():
            loader: Any = LavinDiTAutoencoderKL if name == "vae" else LavinDiTTransformer3DModel
            parts[name] = loader.from_pretrained(folder / name)  # converted before
        elif name not in parts:
            parts[other].save_pretrained(folder / other)
            return folder / other
    if "height" in config and "width" in config:
        parts["vae"].register_to_config(sample_height=config["height"], sample_width=config["width"])
    LavinDiTPipeline(parts["transformer"], parts["vae"], LavinDiTScheduler()).save_pretrained(folder)
    return folder
