# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Conversion of the authors' stage-1 checkpoint (detectron2 and OpenCLIP names), and of OpenCLIP's ConvNeXts."""

import gzip
import importlib.util
import re
from pathlib import Path
from typing import Any, cast

import torch
from transformers import CLIPTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode
from transformers.image_utils import SizeDict
from transformers.utils import logging

from ...files.tokenizers import check_tokenizer
from ..checkpoints import DEFORMABLE_ENCODER_LAYER, load_converted
from .configuration_unpairseg import UnpairSegConfig
from .open_vocabulary_unpairseg import UnpairSegForOpenVocabularySegmentation

logger = logging.get_logger(__name__)

CLIP, PIXEL_DECODER = "backbone.clip_model.", "sem_seg_head.pixel_decoder."
PREDICTOR = "sem_seg_head.predictor."
TRUNK = f"{CLIP}visual.trunk."

# Old OpenCLIP writers stored the causal mask; SigLIP-like ones a bias.
DROPPED = re.compile(r"\.attn_mask$|\.logit_bias$|^pixel_(mean|std)$|^criterion\.")

BLOCK = r"^backbone\.clip_model\.visual\.trunk\.stages\.(\d+)\.blocks\.(\d+)\."
NATIVE_BLOCK = r"model.backbone.encoder.stages.\1.layers.\2."
TEXT_BLOCK = r"^backbone\.clip_model\.transformer\.resblocks\.(\d+)\."
NATIVE_TEXT_BLOCK = r"text_model.text_model.encoder.layers.\1."
ENCODER = r"^sem_seg_head\.pixel_decoder\.transformer\.encoder\.layers\.(\d+)\."
GAUSSIAN = r"positional_encoding_gaussian_matrix$"

# Official prefix (a pattern), native prefix, and what follows: official pattern -> native name.
RENAMES_BY_PREFIX: list[tuple[str, str, dict[str, str]]] = [
    (
        BLOCK,
        NATIVE_BLOCK,
        {
            r"gamma$": "layer_scale_parameter",
            r"conv_dw\.": "dwconv.",
            r"norm\.": "layernorm.",
            r"mlp\.fc1\.": "pwconv1.",
            r"mlp\.fc2\.": "pwconv2.",
        },
    ),
    (
        r"^backbone\.clip_model\.visual\.",
        "",
        {
            r"trunk\.stem\.0\.": "model.backbone.embeddings.patch_embeddings.",
            r"trunk\.stem\.1\.": "model.backbone.embeddings.layernorm.",
            r"trunk\.stages\.(\d+)\.downsample\.(\d)\.": r"model.backbone.encoder.stages.\1.downsampling_layer.\2.",
            r"trunk\.head\.norm\.": "model.backbone.layernorm.",
            r"head\.mlp\.": "visual_projection.",
        },
    ),
    (
        TEXT_BLOCK,
        NATIVE_TEXT_BLOCK,
        {
            r"ln_1\.": "layer_norm1.",
            r"ln_2\.": "layer_norm2.",
            r"attn\.": "self_attn.",
            r"mlp\.c_fc\.": "mlp.fc1.",
            r"mlp\.c_proj\.": "mlp.fc2.",
        },
    ),
    (
        r"^backbone\.clip_model\.",
        "",
        {
            r"token_embedding\.": "text_model.text_model.embeddings.token_embedding.",
            r"positional_embedding$": "text_model.text_model.embeddings.position_embedding.weight",
            r"ln_final\.": "text_model.text_model.final_layer_norm.",
            r"text_projection$": "text_model.text_projection.weight",
            r"logit_scale$": "logit_scale",
        },
    ),
    (
        ENCODER,
        r"model.pixel_decoder.layers.\1.",
        DEFORMABLE_ENCODER_LAYER,
    ),
    (
        r"^sem_seg_head\.pixel_decoder\.",
        "model.pixel_decoder.",
        {
            r"input_proj\.(\d)\.0\.": r"input_projections.\1.",
            r"input_proj\.(\d)\.1\.": r"input_norms.\1.",
            r"transformer\.level_embed$": "level_embed",
            r"pe_layer\." + GAUSSIAN: "positions.matrix",
            r"adapter_1\.norm\.": "feature_pyramid.lateral.1.",
            r"adapter_1\.": "feature_pyramid.lateral.0.",
            r"layer_1\.norm\.": "feature_pyramid.norm.",
            r"layer_1\.": "feature_pyramid.convolution.",
            r"mask_features\.": "feature_pyramid.projection.",
        },
    ),
    (
        r"^sem_seg_head\.predictor\.prompt_encoder\.",
        "model.mask_decoder.prompt_encoder.",
        {
            r"pos_emb\." + GAUSSIAN: "positions.matrix",
            r"corner_emb$": "corner_embeddings",
            r"point_emb$": "point_embedding",
            r"box_emb$": "box_embedding",
            r"attr_emb\.": "sign_embeddings.",
            r"mask_emb$": "mask_embeddings",
        },
    ),
    (
        r"^sem_seg_head\.predictor\.",
        "model.mask_decoder.",
        {
            r"pe_layer\." + GAUSSIAN: "positions.matrix",
            r"extra_self_attention_layer\.self_attn\.": "token_attention.",
            r"extra_self_attention_layer\.norm\.": "token_attention_layer_norm.",
            r"level_embed\.": "level_embed.",
            r"input_proj\.": "input_projections.",
            r"feat_embed\.": "pixel_projection.",
            r"decoder_norm\.": "layer_norm.",
            r"mask_embed\.(\d+)\.layers\.": r"mask_embedders.\1.layers.",
            r"iou_embed\.(\d+)\.layers\.": r"iou_predictors.\1.layers.",
            r"transformer_cross_attention_layers\.(\d+)\.norm\.": r"layers.\1.cross_attn_layer_norm.",
            r"transformer_cross_attention_layers\.(\d+)\.multihead_attn\.": r"layers.\1.cross_attn.",
            r"transformer_self_attention_layers\.(\d+)\.norm\.": r"layers.\1.self_attn_layer_norm.",
            r"transformer_self_attention_layers\.(\d+)\.self_attn\.": r"layers.\1.self_attn.",
            r"transformer_ffn_layers\.(\d+)\.norm\.": r"layers.\1.final_layer_norm.",
            r"transformer_ffn_layers\.(\d+)\.linear(\d)\.": r"layers.\1.fc\2.",
        },
    ),
]
RENAMES = [
    (re.compile(official_prefix + official), native_prefix + native)
    for official_prefix, native_prefix, rules in RENAMES_BY_PREFIX
    for official, native in rules.items()
]
READOUT_HEAD = re.compile(r"sem_seg_head\.predictor\.(?:mask|iou)_embed\.(\d+)\.")
IN_PROJECTION = re.compile(r"\.in_proj_(weight|bias)$")


def rename(key: str) -> str:
    """Names an official tensor as this model does; unknown keys keep their name."""
    for pattern, replacement in RENAMES:
        match = pattern.match(key)
        if match:
            # Groups of prefix and rest are counted through.
            for group in match.groups():
                replacement = re.sub(r"\\\d", group, replacement, count=1)
            return replacement + key[match.end() :]
    return key


def convert_state_dict(state_dict: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Renames and reshapes an official state dict to the names this model saves; unknown keys keep their name.

    The authors always build five heads that masks are read from; with fewer masks per point the last ones are never
    used, and are left out.
    """
    converted: dict[str, torch.Tensor] = {}
    tokens = state_dict.get(f"{PREDICTOR}prompt_encoder.mask_emb")
    for key, tensor in state_dict.items():
        if DROPPED.search(key):
            continue
        head = READOUT_HEAD.match(key)
        if head and tokens is not None and int(head[1]) >= tokens.shape[1]:
            continue
        name = rename(key)
        if name.endswith("text_projection.weight"):
            tensor = tensor.t().contiguous()  # a matrix multiplied from the right
        elif ".prompt_encoder." in name and tensor.dim() == 3:
            tensor = tensor[0]  # (1, tokens, C)
            if name.endswith(("point_embedding", "box_embedding")):
                tensor = tensor[0]
        match = IN_PROJECTION.search(name)
        if match:
            for part, piece in zip((".q_proj.", ".k_proj.", ".v_proj."), tensor.chunk(3)):
                converted[name[: match.start()] + part + match[1]] = piece
        else:
            converted[name] = tensor
    return converted


def count(state_dict: dict[str, torch.Tensor], pattern: str) -> int:
    """Counts the different numbers that the group of `pattern` matches."""
    return len({match[1] for key in state_dict if (match := re.search(pattern, key))})


def convert_clip_config(state_dict: dict[str, torch.Tensor], original: dict[str, Any]) -> dict[str, Any]:
    """Derives the configurations of CLIP's two towers from OpenCLIP's tensors (with the authors' prefix)."""
    hidden_sizes = [state_dict[f"{TRUNK}stages.{stage}.blocks.0.gamma"].shape[0] for stage in range(4)]
    depths = [count(state_dict, rf"visual\.trunk\.stages\.{stage}\.blocks\.(\d+)\.") for stage in range(4)]
    positions = state_dict[f"{CLIP}positional_embedding"]
    vocab_size, hidden_size = state_dict[f"{CLIP}token_embedding.weight"].shape
    text = original.get("CLIP_CONFIG", {}).get("text_cfg", {})
    return {
        "backbone_config": {
            "model_type": "convnext",
            "hidden_sizes": hidden_sizes,
            "depths": depths,
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-6,
        },
        "visual_projection_hidden_size": state_dict[f"{CLIP}visual.head.mlp.fc1.weight"].shape[0],
        "text_config": {
            "vocab_size": vocab_size,
            "hidden_size": hidden_size,
            "intermediate_size": state_dict[f"{CLIP}transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
            "num_hidden_layers": count(state_dict, r"transformer\.resblocks\.(\d+)\."),
            "num_attention_heads": text.get("heads", max(1, hidden_size // 64)),
            "max_position_embeddings": positions.shape[0],
            "hidden_act": "gelu",
            "layer_norm_eps": 1e-5,
            "projection_dim": state_dict[f"{CLIP}text_projection"].shape[1],
            # The end token has the highest id; text is read there.
            "bos_token_id": vocab_size - 2,
            "eos_token_id": vocab_size - 1,
            "pad_token_id": vocab_size - 1,
        },
    }


def convert_config(state_dict: dict[str, torch.Tensor], original: dict[str, Any] | None = None) -> UnpairSegConfig:
    """Derives the configuration from an official state dict.

    What tensors do not show comes from `original`, else from the published configuration: heads, loss settings.

    Args:
        state_dict: Official state dict.
        original: Hyperparameters under the authors' names (`MODEL.OVSEG`).

    Raises:
        ValueError: If the tensors are not those of Unpair-Seg.
    """
    original = original or {}
    options = original.get("MODEL", {}).get("OVSEG", original)
    try:
        mask_features = state_dict[f"{PIXEL_DECODER}mask_features.weight"]
        encoder = f"{PIXEL_DECODER}transformer.encoder.layers."
        feedforward = state_dict[f"{encoder}0.linear1.weight"].shape[0]
        hidden_size = state_dict[f"{PREDICTOR}level_embed.weight"].shape[1]
        dim_feedforward = state_dict[f"{PREDICTOR}transformer_ffn_layers.0.linear1.weight"].shape[0]
        num_masks = state_dict[f"{PREDICTOR}prompt_encoder.mask_emb"].shape[1] - 1
        clip = convert_clip_config(state_dict, original)
        heads = options.get("NHEADS", 8)
        points = state_dict[f"{encoder}0.self_attn.attention_weights.weight"].shape[0] // (heads * 3)
    except KeyError as error:
        raise ValueError(
            f"This is not a stage-1 checkpoint of Unpair-Seg: it has no {error.args[0]}. Its keys begin with "
            f"{sorted(state_dict)[:3]}."
        ) from error
    grid = options.get("TEST", {}).get("PTS_PER_SIDE", [20, 20])
    return UnpairSegConfig(
        **clip,
        feature_size=mask_features.shape[1],
        mask_feature_size=mask_features.shape[0],
        encoder_layers=count(state_dict, r"pixel_decoder\.transformer\.encoder\.layers\.(\d+)\."),
        encoder_feedforward_dim=feedforward,
        encoder_num_points=points,
        hidden_size=hidden_size,
        decoder_layers=count(state_dict, r"transformer_ffn_layers\.(\d+)\."),
        num_attention_heads=heads,
        dim_feedforward=dim_feedforward,
        dropout=options.get("DROPOUT", 0.0),
        num_masks=num_masks,
        enforce_input_projection=f"{PREDICTOR}input_proj.0.weight" in state_dict,
        points_per_side=grid[0],
        mask_weight=options.get("MASK_WEIGHT", 2.0),
        dice_weight=options.get("DICE_WEIGHT", 1.0),
        iou_weight=options.get("IOU_WEIGHT", 1.0),
        train_num_points=options.get("TRAIN_NUM_POINTS", 12544),
        oversample_ratio=options.get("OVERSAMPLE_RATIO", 3.0),
        importance_sample_ratio=options.get("IMPORTANCE_SAMPLE_RATIO", 0.75),
        adapter="none",
    )


def convert(
    state_dict: dict[str, torch.Tensor], original: dict[str, Any] | None = None
) -> UnpairSegForOpenVocabularySegmentation:
    """Builds a model from the authors' `stage1.pth`, or from an OpenCLIP ConvNeXt checkpoint.

    A stage-1 file holds all of CLIP: the result classifies too, with CLIP's own region embeddings (the paper's
    baseline). From an OpenCLIP file everything outside CLIP is fresh, ready for stage 1.

    Args:
        state_dict: Official state dict, as `read_state_dict` gives it.
        original: Hyperparameters under the authors' names.

    Raises:
        ValueError: If a key is missing or unexpected, or a tensor has another shape than the configuration says.
    """
    if any(key.startswith("visual.trunk.") for key in state_dict):
        return from_open_clip(state_dict, original)
    config = convert_config(state_dict, original)
    native = convert_state_dict(state_dict)
    return load_converted(UnpairSegForOpenVocabularySegmentation, config, native, "Unpair-Seg")


def from_open_clip(
    state_dict: dict[str, torch.Tensor], original: dict[str, Any] | None = None, **overrides: Any
) -> UnpairSegForOpenVocabularySegmentation:
    """Builds a model around an OpenCLIP ConvNeXt checkpoint: CLIP's weights, fresh decoders and adapter.

    Args:
        state_dict: OpenCLIP's, with keys like `visual.trunk.stem.0.weight`.
        original: OpenCLIP's model configuration under `CLIP_CONFIG`, where it has another number of text heads than
            one per 64 channels.
        overrides: Fields of `UnpairSegConfig`.

    Raises:
        ValueError: If CLIP's keys are missing or unexpected.
    """
    prefixed = {f"{CLIP}{key}": tensor for key, tensor in state_dict.items()}
    try:
        clip = convert_clip_config(prefixed, original or {})
    except KeyError as error:
        raise ValueError(
            f"This is not an OpenCLIP checkpoint with a ConvNeXt and a text tower: it has no "
            f"{error.args[0].removeprefix(CLIP)}."
        ) from error
    config = UnpairSegConfig(**{"adapter": "none", **clip, **overrides})
    fresh = ("model.pixel_decoder.", "model.mask_decoder.", "adapter.", "matching_state")
    return load_converted(
        UnpairSegForOpenVocabularySegmentation,
        config,
        convert_state_dict(prefixed),
        "OpenCLIP ConvNeXt",
        lambda key: key.startswith(fresh),
    )


TOKENIZER_FILES = ("bpe_simple_vocab_16e6.txt.gz", "bpe_simple_vocab_16e6.txt")


def tokenizer_from_merges(merges_file: Path, max_length: int) -> CLIPTokenizer:
    """Builds CLIP's tokenizer from OpenAI's file of merges, which OpenCLIP packages carry.

    Raises:
        ValueError: If the file holds something else.
    """
    opened = (
        gzip.open(merges_file, "rt", encoding="utf-8")
        if merges_file.suffix == ".gz"
        else merges_file.open(encoding="utf-8")
    )
    with opened as file:
        lines = file.read().split("\n")
    # 49408 tokens: 256 bytes, the same at the end of a word, 48894 merges, 2 special ones.
    pairs = [line.split() for line in lines[1 : 49152 - 256 - 2 + 1]]
    merges = [(pair[0], pair[1]) for pair in pairs if len(pair) == 2]
    if len(merges) != 48894:
        raise ValueError(f"{merges_file} is not CLIP's file of 48894 merges.")
    symbols = list(bytes_to_unicode().values())
    words = [*symbols, *(f"{symbol}</w>" for symbol in symbols), *("".join(merge) for merge in merges)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    vocab = {word: index for index, word in enumerate(words)}
    # transformers declares merges to be lines of text; its tokenizers take pairs.
    return CLIPTokenizer(vocab=vocab, merges=cast(Any, merges), model_max_length=max_length)


def build_tokenizer(
    model: UnpairSegForOpenVocabularySegmentation,
    image_processor: Any,
    original: dict[str, Any],
    checkpoint: Path,
    config_file: str | None,
) -> CLIPTokenizer | None:
    """Finds the tokenizer of a converted model, and tells its image processor the size of the input.

    The tokenizer is a folder named `TOKENIZER` in the hyperparameters, or CLIP's file of merges, beside the checkpoint
    or in an installed `open_clip`. Without one the folder serves mask generation, and texts after a tokenizer is added.
    """
    size = original.get("INPUT", {}).get("CROP_SIZE")
    if size:
        image_processor.size = SizeDict(longest_edge=int(size))
    text_config: Any = model.config.text_config
    max_length = text_config.max_position_embeddings
    if "TOKENIZER" in original:
        folder = Path(original["TOKENIZER"])
        if config_file is not None and not folder.is_absolute():
            folder = Path(config_file).parent / folder
        tokenizer = CLIPTokenizer.from_pretrained(folder)
        check_tokenizer(tokenizer)
        return tokenizer
    if text_config.vocab_size != 49408:
        return None
    folders = [checkpoint.parent]
    installed = importlib.util.find_spec("open_clip")
    if installed is not None and installed.origin is not None:
        folders.append(Path(installed.origin).parent)
    for folder in folders:
        for name in TOKENIZER_FILES:
            if (folder / name).is_file():
                return tokenizer_from_merges(folder / name, max_length)
    logger.warning(
        f"No tokenizer: put {TOKENIZER_FILES[0]} (OpenCLIP's) beside the checkpoint to get one. Mask generation works "
        "without."
    )
    return None


__all__ = ["build_tokenizer", "convert", "convert_config", "convert_state_dict", "from_open_clip"]
