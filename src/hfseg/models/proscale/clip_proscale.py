# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Open-vocabulary PRO-SCALE from the weights of a CLIP: both towers, by their names in transformers."""

import os
from collections.abc import Mapping
from typing import Any

import torch
from transformers import AutoConfig, CLIPModel

from .configuration_open_vocabulary_proscale import ProScaleOpenVocabularyConfig
from .open_vocabulary_proscale import ProScaleForOpenVocabularySegmentation

__all__ = ["from_clip", "rename_clip"]

# Beginning of a name there to that here; the tower's stem is spelled so in transformers.
RENAMED = {
    "vision_model.encoder.layers.": "mask_class_encoder.layers.",
    "vision_model.pre_layrnorm.": "mask_class_encoder.pre_layernorm.",
    "vision_model.": "mask_class_encoder.",
    "visual_projection.": "mask_class_encoder.visual_projection.",
    "text_projection.": "text_model.text_projection.",
    "logit_scale": "logit_scale",
}


def rename_clip(tensors: Mapping[str, torch.Tensor], text_names: list[str]) -> dict[str, torch.Tensor]:
    """Gives the tensors of a `CLIPModel` the names of ours.

    Args:
        tensors: Of `CLIPModel`.
        text_names: Names that the text tower has here, which depend on the release of transformers.
    """
    nested = any(name.startswith("text_model.text_model.") for name in text_names)
    own = {**RENAMED, "text_model.": "text_model.text_model." if nested else "text_model."}
    renamed = {}
    for name, value in tensors.items():
        beginning = next(key for key in own if name.startswith(key))
        renamed[own[beginning] + name.removeprefix(beginning)] = value
    return renamed


def from_clip(source: str | os.PathLike[str], **fields: Any) -> ProScaleForOpenVocabularySegmentation:
    """Builds a model whose two towers are a CLIP's; masks, and what is added to the tower, start anew.

    Args:
        source: Folder or Hub id of a `CLIPModel` with a ViT, such as `openai/clip-vit-large-patch14-336`.
        **fields: Of `ProScaleOpenVocabularyConfig`. Fields of the towers themselves are the CLIP's.

    Raises:
        ValueError: It is no CLIP, or lacks tensors.
        OSError: It cannot be read.
    """
    there: Any = AutoConfig.from_pretrained(source, trust_remote_code=False)
    if there.model_type != "clip":
        raise ValueError(f"{os.fspath(source)!r} is a {there.model_type!r}; CLIP's towers come from a 'clip'.")
    for name in ("vision_config", "text_config"):
        inner = getattr(there, name).to_dict()
        # Of old folders only the whole says it.
        fields[name] = {**inner, "projection_dim": there.projection_dim}
    model = ProScaleForOpenVocabularySegmentation(ProScaleOpenVocabularyConfig(**fields))
    names = [name for name in model.state_dict() if name.startswith("text_model.")]
    clip = CLIPModel.from_pretrained(source)
    tensors = rename_clip(clip.state_dict(), names)
    report = model.load_state_dict(tensors, strict=False)
    lacking = [
        name
        for name in report.missing_keys
        if name.startswith(("text_model.", "mask_class_encoder.")) and ".relative." not in name
    ]
    if lacking or report.unexpected_keys:
        raise ValueError(
            f"{os.fspath(source)!r} does not fit: {len(lacking)} tensors are missing and "
            f"{len(report.unexpected_keys)} are left over, e.g. {(lacking + report.unexpected_keys)[0]}."
        )
    return model
