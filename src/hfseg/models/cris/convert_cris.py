# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Conversion of CRIS checkpoints of the authors, and initialization from CLIP's weights (OpenAI's or timm's)."""

import json
import os
import re
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer
from transformers.utils import logging

from ...files.tokenizers import check_tokenizer
from ..checkpoints import check_keys, load_converted, read_state_dict
from ..sub_configs import sub_config
from .configuration_cris import CrisConfig
from .modeling_cris import STRIDE, CrisForReferringImageSegmentation
from .tokenization_cris import clip_tokenizer

logger = logging.get_logger(__name__)

# CLIP's unused temperature, and what its archive stores beside weights.
DROPPED = re.compile(r"logit_scale$|^(?:backbone\.)?(?:input_resolution|context_length|vocab_size)$")

VISION, TEXT = "model.vision_model.", "model.text_model."
BOTTLENECK = {"1": "conv1_1x1", "2": "conv2_kxk", "3": "conv3_1x1"}
NECK = {
    "f1_v_proj.": "project_c5.",
    "norm_layer.0.": "norm_c5.",
    "txt_proj.": "text_projection.",
    "f2_v_proj.": "project_c4.",
    "f2_cat.0.": "fuse_c4.conv.",
    "f2_cat.1.": "fuse_c4.norm.",
    "f3_v_proj.": "project_c3.",
    "f3_cat.0.": "fuse_c3.conv.",
    "f3_cat.1.": "fuse_c3.norm.",
    "f4_proj3.": "smooth_f3.",
    "f4_proj4.": "smooth_f4.",
    "f4_proj5.": "smooth_f5.",
    "aggr.0.": "aggregate.conv.",
    "aggr.1.": "aggregate.norm.",
    "coordconv.0.conv1.0.": "locate.conv.",
    "coordconv.0.conv1.1.": "locate.norm.",
    "coordconv.1.": "refine.",
}
# Official pattern -> native name; a function where numbers are counted differently.
RENAMES: list[tuple[str, Any]] = [
    (r"^backbone\.visual\.conv(\d)\.", VISION + r"backbone.stem_conv\1.conv."),
    (r"^backbone\.visual\.bn(\d)\.", VISION + r"backbone.stem_conv\1.bn."),
    (r"^backbone\.visual\.layer(\d)\.(\d+)\.conv(\d)\.", lambda m: f"{block(m)}{BOTTLENECK[m[3]]}.conv."),
    (r"^backbone\.visual\.layer(\d)\.(\d+)\.bn(\d)\.", lambda m: f"{block(m)}{BOTTLENECK[m[3]]}.bn."),
    (r"^backbone\.visual\.layer(\d)\.(\d+)\.downsample\.0\.", lambda m: f"{block(m)}shortcut.conv.conv."),
    (r"^backbone\.visual\.layer(\d)\.(\d+)\.downsample\.1\.", lambda m: f"{block(m)}shortcut.conv.bn."),
    (r"^backbone\.visual\.attnpool\.", VISION + "attention_pool."),
    (r"^backbone\.transformer\.resblocks\.(\d+)\.ln_(\d)\.", TEXT + r"text_model.encoder.layers.\1.layer_norm\2."),
    (r"^backbone\.transformer\.resblocks\.(\d+)\.attn\.", TEXT + r"text_model.encoder.layers.\1.self_attn."),
    (r"^backbone\.transformer\.resblocks\.(\d+)\.mlp\.c_fc\.", TEXT + r"text_model.encoder.layers.\1.mlp.fc1."),
    (r"^backbone\.transformer\.resblocks\.(\d+)\.mlp\.c_proj\.", TEXT + r"text_model.encoder.layers.\1.mlp.fc2."),
    (r"^backbone\.ln_final\.", TEXT + "text_model.final_layer_norm."),
    (r"^backbone\.token_embedding\.", TEXT + "text_model.embeddings.token_embedding."),
    (r"^backbone\.positional_embedding$", TEXT + "text_model.embeddings.position_embedding.weight"),
    (r"^backbone\.text_projection$", TEXT + "text_projection.weight"),
    *((rf"^neck\.{re.escape(official)}", f"model.neck.{native}") for official, native in NECK.items()),
    (r"^decoder\.norm\.", "model.decoder.norm."),
    (r"^decoder\.layers\.(\d+)\.multihead_attn\.", r"model.decoder.layers.\1.cross_attn."),
    (r"^decoder\.layers\.(\d+)\.self_attn\.", r"model.decoder.layers.\1.self_attn."),
    (r"^decoder\.layers\.(\d+)\.self_attn_norm\.", r"model.decoder.layers.\1.self_attn_output_norm."),
    (r"^decoder\.layers\.(\d+)\.cross_attn_norm\.", r"model.decoder.layers.\1.cross_attn_output_norm."),
    (r"^decoder\.layers\.(\d+)\.norm1\.", r"model.decoder.layers.\1.self_attn_norm."),
    (r"^decoder\.layers\.(\d+)\.norm2\.", r"model.decoder.layers.\1.cross_attn_norm."),
    (r"^decoder\.layers\.(\d+)\.norm3\.", r"model.decoder.layers.\1.feedforward_norm."),
    (r"^decoder\.layers\.(\d+)\.ffn\.0\.", r"model.decoder.layers.\1.fc1."),
    (r"^decoder\.layers\.(\d+)\.ffn\.3\.", r"model.decoder.layers.\1.hidden_norm."),
    (r"^decoder\.layers\.(\d+)\.ffn\.4\.", r"model.decoder.layers.\1.fc2."),
    (r"^proj\.vis\.1\.0\.", "projector.enlarge_1."),
    (r"^proj\.vis\.1\.1\.", "projector.norm_1."),
    (r"^proj\.vis\.3\.0\.", "projector.enlarge_2."),
    (r"^proj\.vis\.3\.1\.", "projector.norm_2."),
    (r"^proj\.vis\.4\.", "projector.embed."),
    (r"^proj\.txt\.", "projector.text_kernel."),
]
# timm's names of the attention pool, where the stem and stages have dots.
TIMM_POOL = {"pos_embed": "positional_embedding", "q": "q_proj", "k": "k_proj", "v": "v_proj", "proj": "c_proj"}


def block(match: re.Match) -> str:
    """Names a bottleneck of the image tower; timm counts stages from 0."""
    return f"{VISION}backbone.stages_{int(match[1]) - 1}.{match[2]}."


def convert_state_dict(state_dict: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Renames an official state dict to the names this model saves; unknown keys keep their name.

    Joint projections of queries, keys and values are split, and CLIP's text projection is transposed.
    """
    converted = {}
    for key, tensor in state_dict.items():
        if DROPPED.search(key):
            continue
        for pattern, replacement in RENAMES:
            renamed, count = re.subn(pattern, replacement, key, count=1)
            if count:
                key = renamed
                break
        joint = re.search(r"\.in_proj_(weight|bias)$", key)
        if joint:
            for name, part in zip("qkv", tensor.chunk(3)):
                converted[f"{key[: joint.start()]}.{name}_proj.{joint[1]}"] = part.contiguous()
        elif key == TEXT + "text_projection.weight":
            converted[key] = tensor.T.contiguous()
        else:
            converted[key] = tensor
    return converted


def count_indices(state_dict: dict[str, torch.Tensor], pattern: str) -> int:
    """Counts the different numbers that the group of `pattern` matches."""
    return len({match[1] for key in state_dict if (match := re.search(pattern, key))})


def clip_fields(state_dict: dict[str, torch.Tensor], original: dict[str, Any]) -> dict[str, Any]:
    """Reads the sizes of CLIP's two towers off official tensors (`backbone.*`).

    Raises:
        ValueError: If this is no CLIP with a ResNet.
    """
    try:
        grid = int((state_dict["backbone.visual.attnpool.positional_embedding"].shape[0] - 1) ** 0.5)
        vocab_size, width = state_dict["backbone.token_embedding.weight"].shape
        layers = count_indices(state_dict, r"^backbone\.transformer\.resblocks\.(\d+)\.")
        return {
            "text_config": {
                "vocab_size": vocab_size,
                "hidden_size": width,
                "intermediate_size": state_dict["backbone.transformer.resblocks.0.mlp.c_fc.weight"].shape[0],
                "projection_dim": state_dict["backbone.text_projection"].shape[1],
                "num_hidden_layers": layers,
                "num_attention_heads": max(1, width // 64),
                "max_position_embeddings": state_dict["backbone.positional_embedding"].shape[0],
                "hidden_act": "quick_gelu",
                "layer_norm_eps": 1e-5,
                "bos_token_id": original.get("bos_token_id", vocab_size - 2),
                "eos_token_id": original.get("eos_token_id", vocab_size - 1),
                "pad_token_id": original.get("pad_token_id", 0),
            },
            "vision_layers": tuple(
                count_indices(state_dict, rf"^backbone\.visual\.layer{stage}\.(\d+)\.") for stage in range(1, 5)
            ),
            "vision_width": state_dict["backbone.visual.layer1.0.conv1.weight"].shape[0],
            "image_size": grid * STRIDE,
            "hidden_size": width,
        }
    except KeyError as error:
        kind = "a vision transformer" if "backbone.visual.proj" in state_dict else "something else"
        raise ValueError(
            f"These are not the weights of a CLIP with a ResNet (they look like {kind}): there is no {error.args[0]}. "
            f"The keys begin with {sorted(state_dict)[:3]}. CRIS needs the three maps of a ResNet."
        ) from error


def convert_config(state_dict: dict[str, torch.Tensor], original: dict[str, Any] | None = None) -> CrisConfig:
    """Derives the configuration from an official state dict.

    Heads and dropout, which tensors do not show, come from `original`, else from the published configuration.

    Raises:
        ValueError: If the tensors are not those of CRIS.
    """
    original = original or {}
    fields = clip_fields(state_dict, original)
    try:
        neck = [state_dict[f"neck.{name}.0.weight"].shape[0] for name in ("f3_v_proj", "f2_v_proj", "txt_proj")]
        dim_feedforward = state_dict["decoder.layers.0.ffn.0.weight"].shape[0]
    except KeyError as error:
        raise ValueError(
            f"This is not a checkpoint of CRIS: it has no {error.args[0]}. Its keys begin with "
            f"{sorted(state_dict)[:3]}. CLIP alone is read by CrisForReferringImageSegmentation.from_clip."
        ) from error
    return CrisConfig(
        **fields,
        neck_sizes=tuple(neck),
        num_decoder_layers=count_indices(state_dict, r"^decoder\.layers\.(\d+)\."),
        num_attention_heads=original.get("num_head", 8),
        dim_feedforward=dim_feedforward,
        dropout=original.get("dropout", 0.1),
    )


def load(
    config: CrisConfig, state_dict: dict[str, torch.Tensor], fresh: tuple[str, ...] = ()
) -> CrisForReferringImageSegmentation:
    """Builds a model from native tensors.

    Args:
        config: Its configuration.
        state_dict: Native state dict.
        fresh: Prefixes of names that may be missing, and are then randomly initialized.

    Raises:
        ValueError: If a key is missing or unexpected, or a tensor has another shape than the configuration says.
    """
    # Official weights are float32; those of CLIP's archive half precision, to be trained in float32.
    state_dict = {key: value.float() if value.is_floating_point() else value for key, value in state_dict.items()}
    return load_converted(
        CrisForReferringImageSegmentation, config, state_dict, "CRIS", lambda key: key.startswith(fresh)
    )


def convert(
    state_dict: dict[str, torch.Tensor], original: dict[str, Any] | None = None
) -> CrisForReferringImageSegmentation:
    """Builds a model from an official checkpoint.

    Args:
        state_dict: Official state dict, as `read_state_dict` gives it.
        original: Hyperparameters under the authors' names.

    Raises:
        ValueError: If a key is missing or unexpected, or a tensor has another shape than the configuration says.
    """
    return load(convert_config(state_dict, original), convert_state_dict(state_dict))


VOCABULARY_FILE = "bpe_simple_vocab_16e6.txt.gz"
# Has CLIP's tokenizer; all CLIPs share it.
TOKENIZER_SOURCE = "openai/clip-vit-base-patch32"


def build_tokenizer(
    model: CrisForReferringImageSegmentation,
    image_processor: Any,
    original: dict[str, Any],
    checkpoint: Path,
    config_file: str | None = None,
) -> Any:
    """Finds CLIP's tokenizer for a converted model, and sets the image processor to the authors' input size.

    It is looked for as OpenAI's vocabulary file (`vocabulary` among the hyperparameters, else beside the checkpoint or
    the file of hyperparameters), then on the Hub or in its cache.

    Returns:
        The tokenizer, or None, with a warning, where none can be had, or the model has another vocabulary.
    """
    size = original.get("input_size")
    if size is not None:
        height, width = (size, size) if isinstance(size, int) else size
        image_processor.size = type(image_processor.size)(height=height, width=width)
    image_processor.threshold = original.get("threshold", image_processor.threshold)
    length = original.get("word_len", 17)
    folders = [path.parent for path in (checkpoint, Path(config_file or checkpoint))]
    candidates = [folder / VOCABULARY_FILE for folder in folders]
    file = original.get("vocabulary") or next((path for path in candidates if path.is_file()), None)
    tokenizer = None
    if file is not None:
        tokenizer = clip_tokenizer(file, length)
    else:
        try:
            tokenizer = CLIPTokenizer.from_pretrained(TOKENIZER_SOURCE, model_max_length=length)
            check_tokenizer(tokenizer)
        except (OSError, ValueError) as error:
            tokenizer = None
            logger.warning(
                f"The folder gets no tokenizer, as {TOKENIZER_SOURCE} cannot be read ({type(error).__name__}): put "
                f"CLIP's {VOCABULARY_FILE} beside the checkpoint, or name it as 'vocabulary' in --config."
            )
    if tokenizer is not None and len(tokenizer) != sub_config(model.config.text_config, CLIPTextConfig).vocab_size:
        logger.warning(
            f"The folder gets no tokenizer: CLIP's has {len(tokenizer)} tokens, this model "
            f"{sub_config(model.config.text_config, CLIPTextConfig).vocab_size}."
        )
        return None
    return tokenizer


# What CLIP does not have.
BEYOND_CLIP = ("model.neck.", "model.decoder.", "projector.", VISION + "attention_pool.connect.")


# Files of OpenCLIP's folders, and what names of timm's CLIP image towers begin with.
OPEN_CLIP_FILES = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
TIMM_FILES = ("model.safetensors", "pytorch_model.bin")


def from_clip(cls: type, source: Any, **overrides) -> CrisForReferringImageSegmentation:
    """See `CrisForReferringImageSegmentation.from_clip`."""
    if isinstance(source, (str, os.PathLike)) and Path(source).is_dir():
        return from_folder(Path(source), **overrides)
    if isinstance(source, str) and not os.path.exists(source) and "_clip" in source and Path(source).suffix != ".pt":
        return from_timm(source, **overrides)
    state_dict = read_state_dict(os.fspath(source)) if isinstance(source, (str, os.PathLike)) else dict(source)
    if any(key.startswith("stages.") for key in state_dict):
        return from_timm_tensors(state_dict, **overrides)
    state_dict = {key if key.startswith("backbone.") else f"backbone.{key}": v for key, v in state_dict.items()}
    fields = {**clip_fields(state_dict, {}), **overrides}
    return load(CrisConfig(**fields), convert_state_dict(state_dict), fresh=BEYOND_CLIP)


def from_folder(folder: Path, **overrides) -> CrisForReferringImageSegmentation:
    """Builds a model from a folder: OpenCLIP's (both towers), timm's (image tower), or transformers' (text tower).

    Raises:
        ValueError: If the folder holds none of them.
    """
    for name in OPEN_CLIP_FILES:
        if (folder / name).is_file():
            return from_clip(CrisForReferringImageSegmentation, folder / name, **overrides)
    file = folder / "config.json"
    settings = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if settings.get("model_type") in ("clip", "clip_text_model"):
        return from_transformers(folder, **overrides)
    weights = next((folder / name for name in TIMM_FILES if (folder / name).is_file()), None)
    if weights is None or "architecture" not in settings:
        raise ValueError(
            f"{folder} holds no CLIP: give the folder of an OpenCLIP ResNet ({OPEN_CLIP_FILES[0]}), of timm's image "
            "tower, or of a CLIP of transformers, whose text tower is taken."
        )
    return from_timm_tensors(read_state_dict(weights), **overrides)


def from_transformers(folder: Path, **overrides) -> CrisForReferringImageSegmentation:
    """Builds a model whose text tower is that of a CLIP of transformers.

    transformers' CLIPs see with a vision transformer, which has no place here: the image tower is randomly initialized,
    with a warning.
    """
    whole: Any = AutoConfig.from_pretrained(folder)
    config = getattr(whole, "text_config", whole)
    config.projection_dim = whole.projection_dim
    tower = CLIPTextModelWithProjection.from_pretrained(folder, config=config)
    names = ["vocab_size", "hidden_size", "intermediate_size", "projection_dim", "num_hidden_layers", "hidden_act"]
    names += ["num_attention_heads", "max_position_embeddings", "layer_norm_eps", "bos_token_id", "eos_token_id"]
    text = {name: getattr(config, name) for name in names} | {"pad_token_id": 0}
    if text["eos_token_id"] == 2:  # of old folders; CLIP's end token has the highest id
        text |= {"bos_token_id": config.vocab_size - 2, "eos_token_id": config.vocab_size - 1}
    model = CrisForReferringImageSegmentation(
        CrisConfig(**{"text_config": text, "hidden_size": text["hidden_size"], **overrides})
    )
    own = model.model.text_model.state_dict()
    tensors = {name: value for name, value in tower.state_dict().items() if name in own}
    check_keys(own.keys() - tensors.keys(), [], "a CLIP text tower")
    model.model.text_model.load_state_dict(tensors)
    logger.warning(f"{folder} gives its text tower and tokenizer; the image tower, a ResNet here, starts anew.")
    return model


def from_timm(name: str, **overrides) -> CrisForReferringImageSegmentation:
    """Builds a model whose image tower has timm's weights; the text tower is randomly initialized, with a warning.

    Raises:
        ValueError: If timm has no such model, or its weights cannot be had.
    """
    import timm

    if not name.startswith(("resnet50_clip", "resnet101_clip")):
        raise ValueError(f"{name!r} is no CLIP ResNet-50 or -101 of timm; choose for example 'resnet50_clip.openai'.")
    try:
        tower = timm.create_model(name, pretrained=True)
    except (RuntimeError, OSError, ValueError) as error:
        raise ValueError(f"timm's weights of {name!r} cannot be had: {error}") from error
    return from_timm_tensors(tower.state_dict(), **overrides)


def from_timm_tensors(tensors: dict[str, torch.Tensor], **overrides) -> CrisForReferringImageSegmentation:
    """Builds a model from the tensors of timm's CLIP image tower, whose sizes they show.

    Raises:
        ValueError: If they are others.
    """
    state_dict = {}
    for key, value in tensors.items():
        key = re.sub(r"^stem\.", "stem_", re.sub(r"^stages\.", "stages_", key))
        pool = re.match(r"head\.(\w+)(.*)", key)
        state_dict[f"{VISION}attention_pool.{TIMM_POOL[pool[1]]}{pool[2]}" if pool else f"{VISION}backbone.{key}"] = (
            value
        )
    try:
        grid = int((tensors["head.pos_embed"].shape[0] - 1) ** 0.5)
        fields: dict[str, Any] = {
            "vision_layers": tuple(count_indices(tensors, rf"^stages\.{stage}\.(\d+)\.") for stage in range(4)),
            "vision_width": tensors["stages.0.0.conv1_1x1.conv.weight"].shape[0],
            "image_size": grid * STRIDE,
            "text_config": {"projection_dim": tensors["head.proj.weight"].shape[0]},
        }
    except KeyError as error:
        raise ValueError(f"These are not the weights of timm's CLIP ResNet: there is no {error.args[0]}.") from error
    given = overrides.pop("text_config", {})
    fields["text_config"] |= given if isinstance(given, dict) else given.to_dict()
    logger.warning("timm has CLIP's image tower only: the text tower starts from random weights.")
    return load(CrisConfig(**{**fields, **overrides}), state_dict, fresh=(*BEYOND_CLIP, TEXT))
