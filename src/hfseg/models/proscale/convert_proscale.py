# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Conversion of PRO-SCALE checkpoints of the authors (detectron2 key names), and warm start from Mask2Former."""

import re
from collections.abc import Callable
from typing import Any

import torch

from ...files.label_names import known_labels
from ..checkpoints import DEFORMABLE_ENCODER_LAYER, load_converted
from .configuration_proscale import ProScaleConfig
from .modeling_proscale import ProScaleForUniversalSegmentation

STAGES = ["stage1", "stage2", "stage3", "stage4"]
PIXEL_DECODER, PREDICTOR = "sem_seg_head.pixel_decoder.", "sem_seg_head.predictor."

# Buffers that the model computes, and the class weights of the loss.
DROPPED = re.compile(r"^criterion\.empty_weight$|attn\.relative_position_index$|^pixel_(mean|std)$")

SWIN_BLOCK = r"^backbone\.layers\.(\d+)\.blocks\.(\d+)\."
ENCODER_LAYER = r"^sem_seg_head\.pixel_decoder\.transformer\.encoder\.layers\.(\d+)\."

# Official prefix (a pattern), native prefix, and per prefix what follows: official pattern -> native name. Backbones
# get the names that transformers writes to disk.
RENAMES_BY_PREFIX: list[tuple[str, str, dict[str, str]]] = [
    (
        SWIN_BLOCK,
        r"model.backbone.encoder.layers.\1.blocks.\2.",
        {
            r"norm1\.": "layernorm_before.",
            r"norm2\.": "layernorm_after.",
            r"attn\.proj\.": "attention.output.dense.",
            r"attn\.": "attention.self.",
            r"mlp\.fc1\.": "intermediate.dense.",
            r"mlp\.fc2\.": "output.dense.",
        },
    ),
    (
        r"^backbone\.",
        "model.backbone.",
        {
            r"patch_embed\.proj\.": "embeddings.patch_embeddings.projection.",
            r"patch_embed\.norm\.": "embeddings.norm.",
            r"layers\.(\d+)\.downsample\.": r"encoder.layers.\1.downsample.",
            r"stem\.conv1\.norm\.": "embedder.embedder.normalization.",
            r"stem\.conv1\.": "embedder.embedder.convolution.",
        },
    ),
    (
        ENCODER_LAYER,
        r"model.pixel_decoder.layers.\1.",
        DEFORMABLE_ENCODER_LAYER,
    ),
    (
        r"^sem_seg_head\.pixel_decoder\.",
        "model.pixel_decoder.",
        {
            r"input_proj\.": "input_projections.",
            r"transformer\.level_embed$": "level_embed",
            r"transformer\.encoder\.token_excite\.ops\.": "token_recalibration.projection.",
            r"adapter_1\.norm\.": "light_pixel_embedding.lateral.1.",
            r"adapter_1\.": "light_pixel_embedding.lateral.0.",
            r"layer_1\.norm\.": "light_pixel_embedding.norm.",
            r"layer_1\.": "light_pixel_embedding.mix.",
            r"mask_features\.": "light_pixel_embedding.projection.",
        },
    ),
    (r"^sem_seg_head\.predictor\.", "", {r"class_embed\.": "class_predictor."}),
    (
        r"^sem_seg_head\.predictor\.",
        "model.mask_decoder.decoder.",
        {
            r"(?:query_feat|static_query)\.": "query_features.",
            r"query_embed\.": "query_positions.",
            r"level_embed\.": "level_embed.",
            r"input_proj\.": "input_projections.",
            r"decoder_norm\.": "layer_norm.",
            r"mask_embed\.layers\.": "mask_embedder.layers.",
            r"transformer_cross_attention_layers\.(\d+)\.norm\.": r"layers.\1.cross_attn_layer_norm.",
            r"transformer_cross_attention_layers\.(\d+)\.multihead_attn\.": r"layers.\1.cross_attn.",
            r"transformer_self_attention_layers\.(\d+)\.norm\.": r"layers.\1.self_attn_layer_norm.",
            r"transformer_self_attention_layers\.(\d+)\.self_attn\.": r"layers.\1.self_attn.",
            r"transformer_ffn_layers\.(\d+)\.norm\.": r"layers.\1.final_layer_norm.",
            r"transformer_ffn_layers\.(\d+)\.linear(\d)\.": r"layers.\1.fc\2.",
        },
    ),
]

# The same, flat, and the names whose numbers are counted differently.
RENAMES: list[tuple[str, str | Callable[[re.Match], str]]] = [
    (r"^backbone\.norm(\d)\.", lambda m: f"model.backbone.hidden_states_norms.stage{int(m[1]) + 1}."),
    (r"^backbone\.res(\d)\.(\d+)\.(?:conv(\d)|shortcut)\.norm\.", lambda m: resnet_name(m, "normalization.")),
    (r"^backbone\.res(\d)\.(\d+)\.(?:conv(\d)|shortcut)\.", lambda m: resnet_name(m, "convolution.")),
    *(
        (official_prefix + official, native_prefix + native)
        for official_prefix, native_prefix, rules in RENAMES_BY_PREFIX
        for official, native in rules.items()
    ),
]

# Joint projections: suffix of the joint tensor -> suffixes of its three row blocks.
JOINT = [
    (r"\.self\.qkv\.(weight|bias)$", [".self.query.", ".self.key.", ".self.value."]),
    (r"\.in_proj_(weight|bias)$", [".q_proj.", ".k_proj.", ".v_proj."]),
]


def resnet_name(match: re.Match, suffix: str) -> str:
    """Names a convolution or norm of a ResNet block; detectron2 counts stages from 2 and convolutions from 1."""
    prefix = f"model.backbone.encoder.stages.{int(match[1]) - 2}.layers.{match[2]}."
    place = "shortcut." if match[3] is None else f"layer.{int(match[3]) - 1}."
    return prefix + place + suffix


def split_joint(key: str, tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    """Splits a joint query-key-value projection into three; other tensors stay as they are."""
    for pattern, names in JOINT:
        match = re.search(pattern, key)
        if match:
            return {key[: match.start()] + name + match[1]: part for name, part in zip(names, tensor.chunk(3))}
    return {key: tensor}


def convert_state_dict(state_dict: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Renames an official state dict to the names this model saves; unknown keys keep their name.

    The convolutional variant of token recalibration stores its weight as `(1, C, 1, 1)`; here it is `(1, C)`.
    """
    converted = {}
    for key, tensor in state_dict.items():
        if DROPPED.search(key):
            continue
        # An official writer without version metadata repeats this prefix.
        key = key.replace("pixel_decoder.pixel_decoder.", "pixel_decoder.")
        for pattern, replacement in RENAMES:
            renamed, count = re.subn(pattern, replacement, key, count=1)
            if count:
                key = renamed
                break
        if key.endswith("token_recalibration.projection.weight"):
            tensor = tensor.reshape(1, -1)
        converted.update(split_joint(key, tensor))
    # Frozen batch normalization does not count batches.
    for key in [key for key in converted if key.endswith(".running_mean")]:
        converted.setdefault(key.replace("running_mean", "num_batches_tracked"), torch.tensor(0))
    return converted


def count_indices(state_dict: dict[str, torch.Tensor], pattern: str) -> int:
    """Counts the different numbers that the group of `pattern` matches."""
    return len({match[1] for key in state_dict if (match := re.search(pattern, key))})


def convert_config(state_dict: dict[str, torch.Tensor], original: dict[str, Any] | None = None) -> ProScaleConfig:
    """Derives the configuration from an official state dict.

    What tensors do not show comes from `original`, else from the published configuration: heads, temperature, residual,
    drop path, loss settings.

    Args:
        state_dict: Official state dict.
        original: Hyperparameters under the authors' names.

    Raises:
        ValueError: If the tensors are not those of PRO-SCALE.
    """
    original = original or {}
    try:
        projection = state_dict[f"{PIXEL_DECODER}adapter_1.weight"]
        old_name, name = f"{PREDICTOR}static_query.weight", f"{PREDICTOR}query_feat.weight"
        queries = state_dict[old_name if old_name in state_dict else name]
        num_labels = state_dict[f"{PREDICTOR}class_embed.weight"].shape[0] - 1
        encoder = f"{PIXEL_DECODER}transformer.encoder.layers."
        heads = original.get("NHEADS", 8)
        rows = [
            state_dict[f"{encoder}{index}.self_attn.attention_weights.weight"].shape[0]
            for index in range(count_indices(state_dict, re.escape(encoder) + r"(\d+)\."))
        ]
        feedforward = state_dict[f"{encoder}0.linear1.weight"].shape[0]
        dim_feedforward = state_dict[f"{PREDICTOR}transformer_ffn_layers.0.linear1.weight"].shape[0]
        mask_features = state_dict[f"{PIXEL_DECODER}mask_features.weight"].shape[0]
        hidden_size = queries.shape[1]
    except KeyError as error:
        raise ValueError(
            f"This is not a checkpoint of PRO-SCALE: it has no {error.args[0]}. Its keys begin with "
            f"{sorted(state_dict)[:3]}."
        ) from error
    levels = [count // (heads * 4) for count in rows]
    stages = original.get("PROSCALE_NUM_LAYERS") or [levels.count(1), levels.count(2), levels.count(3)]
    has_gate = any("token_excite" in key for key in state_dict)
    gate = original.get("IS_EXCITE_CONV")
    trc = "none" if not has_gate else "conv" if gate or gate_is_convolution(state_dict) else "linear"
    lpe = "conv" if f"{PIXEL_DECODER}layer_1.weight" in state_dict else "max"
    if original.get("MASK_OUTPUT_OPS") == "avgpool":
        lpe = "average"
    num_things = original.get("num_thing_classes")
    id2label, stuff = known_labels(num_labels)
    if num_things is not None:
        stuff = list(range(num_things, num_labels))
    dropped_batch_norm = "backbone.stem.conv1.weight" in state_dict
    return ProScaleConfig(
        backbone_config=convert_backbone_config(state_dict, original),
        encoder_stage_layers=tuple(stages),
        feature_size=projection.shape[0],
        mask_feature_size=mask_features,
        encoder_feedforward_dim=feedforward,
        trc=trc,
        trc_temperature=original.get("EXCITE_TEMP", 0.1),
        trc_residual=bool(original.get("RESIDUAL", False)),
        lpe=lpe,
        hidden_size=hidden_size,
        num_queries=queries.shape[0],
        decoder_layers=count_indices(state_dict, r"transformer_ffn_layers\.(\d+)\."),
        num_attention_heads=heads,
        dim_feedforward=dim_feedforward,
        dropout=original.get("DROPOUT", 0.0),
        freeze_batch_norm=dropped_batch_norm and original.get("resnet", {}).get("NORM", "FrozenBN") == "FrozenBN",
        stuff_class_ids=stuff,
        class_weight=original.get("CLASS_WEIGHT", 2.0),
        mask_weight=original.get("MASK_WEIGHT", 5.0),
        dice_weight=original.get("DICE_WEIGHT", 5.0),
        no_object_weight=original.get("NO_OBJECT_WEIGHT", 0.1),
        train_num_points=original.get("TRAIN_NUM_POINTS", 12544),
        oversample_ratio=original.get("OVERSAMPLE_RATIO", 3.0),
        importance_sample_ratio=original.get("IMPORTANCE_SAMPLE_RATIO", 0.75),
        id2label=id2label,
        label2id={label: index for index, label in id2label.items()},
    )


def gate_is_convolution(state_dict: dict[str, torch.Tensor]) -> bool:
    """Tells whether the stored gate of token recalibration is a 1x1 convolution."""
    return any(key.endswith("token_excite.ops.weight") and value.dim() == 4 for key, value in state_dict.items())


def convert_backbone_config(state_dict: dict[str, torch.Tensor], original: dict[str, Any]) -> dict[str, Any]:
    """Derives the backbone's configuration: Swin or ResNet.

    Raises:
        ValueError: If it is neither.
    """
    if "backbone.patch_embed.proj.weight" in state_dict:
        swin = original.get("swin", {})
        table = "backbone.layers.{}.blocks.0.attn.relative_position_bias_table"
        num_stages = count_indices(state_dict, r"^backbone\.layers\.(\d+)\.")
        embed_dim = state_dict["backbone.patch_embed.proj.weight"].shape[0]
        return {
            "model_type": "swin",
            "embed_dim": embed_dim,
            "depths": [
                count_indices(state_dict, rf"^backbone\.layers\.{stage}\.blocks\.(\d+)\.")
                for stage in range(num_stages)
            ],
            "num_heads": [state_dict[table.format(stage)].shape[1] for stage in range(num_stages)],
            "window_size": (int(state_dict[table.format(0)].shape[0] ** 0.5) + 1) // 2,
            "mlp_ratio": state_dict["backbone.layers.0.blocks.0.mlp.fc1.weight"].shape[0] / embed_dim,
            "drop_path_rate": float(swin.get("DROP_PATH_RATE", 0.3)),
            "out_features": STAGES,
        }
    if "backbone.stem.conv1.weight" in state_dict:
        depths = [count_indices(state_dict, rf"^backbone\.res{stage}\.(\d+)\.") for stage in range(2, 6)]
        return {
            "model_type": "resnet",
            "embedding_size": state_dict["backbone.stem.conv1.weight"].shape[0],
            "hidden_sizes": [state_dict[f"backbone.res{stage}.0.conv3.weight"].shape[0] for stage in range(2, 6)],
            "depths": depths,
            "layer_type": "bottleneck",
            "downsample_in_bottleneck": False,
            "out_features": STAGES,
        }
    raise ValueError("The backbone of this checkpoint is neither Swin nor ResNet, the only ones the authors released.")


def convert(
    state_dict: dict[str, torch.Tensor], original: dict[str, Any] | None = None
) -> ProScaleForUniversalSegmentation:
    """Builds a model from an official checkpoint.

    Args:
        state_dict: Official state dict, as `read_state_dict` gives it.
        original: Hyperparameters under the authors' names.

    Raises:
        ValueError: If a key is missing or unexpected, or a tensor has another shape than the configuration says.
    """
    config, native = convert_config(state_dict, original), convert_state_dict(state_dict)
    return load_converted(ProScaleForUniversalSegmentation, config, native, "PRO-SCALE")


def config_from_mask2former(source: Any, **overrides) -> ProScaleConfig:
    """Derives a configuration from Mask2Former's.

    Args:
        source: transformers' `Mask2FormerConfig`.
        overrides: Fields of `ProScaleConfig` that win.

    Raises:
        ValueError: For pre-norm decoders, which this decoder does not have.
    """
    if source.pre_norm:
        raise ValueError("pre_norm=True: this Mask2Former normalizes before its blocks; only post-norm ones convert.")
    _, stuff = known_labels(source.num_labels)
    fields = {
        "backbone_config": source.backbone_config,
        "feature_size": source.feature_size,
        "mask_feature_size": source.mask_feature_size,
        "encoder_feedforward_dim": source.encoder_feedforward_dim,
        "encoder_layers": source.encoder_layers,
        "hidden_size": source.hidden_dim,
        "num_queries": source.num_queries,
        "decoder_layers": source.decoder_layers - 1,
        "num_attention_heads": source.num_attention_heads,
        "dim_feedforward": source.dim_feedforward,
        "dropout": source.dropout,
        "stuff_class_ids": stuff,
        "class_weight": source.class_weight,
        "mask_weight": source.mask_weight,
        "dice_weight": source.dice_weight,
        "no_object_weight": source.no_object_weight,
        "train_num_points": source.train_num_points,
        "oversample_ratio": source.oversample_ratio,
        "importance_sample_ratio": source.importance_sample_ratio,
        "use_auxiliary_loss": source.use_auxiliary_loss,
        "id2label": source.id2label,
        "label2id": source.label2id,
    }
    if "num_labels" in overrides:  # another label set: its names are not the source's
        for name in ("id2label", "label2id", "stuff_class_ids"):
            del fields[name]
    return ProScaleConfig(**{**fields, **overrides})


def first_levels(tensor: torch.Tensor, heads: int, levels: int) -> torch.Tensor:
    """Takes the rows of the first levels (coarse to fine) from an offset or weight projection over three levels.

    Shape:
        tensor: `(heads * 3 * n, ...)`; output: `(heads * levels * n, ...)`.
    """
    return tensor.unflatten(0, (heads, 3, -1))[:, :levels].flatten(0, 2)


def warm_start(model: ProScaleForUniversalSegmentation, source: Any) -> list[str]:
    """Copies every weight of a Mask2Former that has a place in this model.

    Encoder layer i takes the source's layer at the same relative depth; layers that attend fewer than three levels take
    the offsets and attention weights of these levels. Token recalibration has no counterpart, nor has a 3x3 convolution
    where this model pools, nor a class predictor for other classes.

    Args:
        model: The model to fill, in place.
        source: transformers' `Mask2FormerForUniversalSegmentation`.

    Returns:
        The parameters that keep their random initialization.
    """
    config, weights = model.config, {}

    def take(prefix: str, module: torch.nn.Module) -> None:
        weights.update({f"{prefix}.{name}": tensor for name, tensor in module.state_dict().items()})

    pixel_level, transformer = source.model.pixel_level_module, source.model.transformer_module
    decoder, predictor = pixel_level.decoder, transformer.decoder
    take("model.backbone", pixel_level.encoder)
    take("model.pixel_decoder.input_projections", decoder.input_projections)
    weights["model.pixel_decoder.level_embed"] = decoder.level_embed.data
    take("model.pixel_decoder.light_pixel_embedding.lateral", decoder.adapter_1)
    take("model.pixel_decoder.light_pixel_embedding.norm", decoder.layer_1[1])
    if config.lpe == "conv":
        take("model.pixel_decoder.light_pixel_embedding.mix", decoder.layer_1[0])
    take("model.pixel_decoder.light_pixel_embedding.projection", decoder.mask_projection)

    layers, plan = decoder.encoder.layers, config.layer_plan
    heads = config.encoder_attention_heads or config.num_attention_heads
    for index, (_, _, attended) in enumerate(plan):
        depth = index * (len(layers) - 1) / max(len(plan) - 1, 1)
        for name, tensor in layers[round(depth)].state_dict().items():
            if attended < 3 and ("sampling_offsets" in name or "attention_weights" in name):
                tensor = first_levels(tensor, heads, attended)
            weights[f"model.pixel_decoder.layers.{index}.{name}"] = tensor

    target = "model.mask_decoder.decoder"
    take(f"{target}.query_features", transformer.queries_features)
    take(f"{target}.query_positions", transformer.queries_embedder)
    take(f"{target}.level_embed", transformer.level_embed)
    for level, projection in enumerate(transformer.input_projections):
        take(f"{target}.input_projections.{level}", projection)
    take(f"{target}.layer_norm", predictor.layernorm)
    embedder = dict(predictor.mask_predictor.mask_embedder.named_children())
    for index in range(3):
        take(f"{target}.mask_embedder.layers.{index}", dict(embedder[str(index)].named_children())["0"])
    for index, layer in enumerate(predictor.layers):
        for name, tensor in layer.state_dict().items():
            weights.update(split_joint(f"{target}.layers.{index}.{name}", tensor))
    if source.class_predictor.weight.shape == model.class_predictor.weight.shape:
        take("class_predictor", source.class_predictor)

    own = model.state_dict()
    model.load_state_dict({name: tensor for name, tensor in weights.items() if name in own}, strict=False)
    return [name for name in own if name not in weights]
