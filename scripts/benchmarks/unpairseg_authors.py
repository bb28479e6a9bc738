# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The authors' stage-1 inference, to be timed beside ours with the same weights.

Their code is not part of this package: `--authors_code DIR` names a checkout of Unpair-Seg.pytorch, whose modules are
imported in this process. What it takes from other packages at inference is little, and stands in for them here:
detectron2's registries, convolution with norm, and image list; the trunk is timm's ConvNeXt, which OpenCLIP uses too.
Their compiled deformable attention needs a GPU; without it their code falls back to PyTorch.
"""

import importlib
import math
import sys
import types
from collections import namedtuple
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import nn

from hfseg.models.unpairseg.configuration_unpairseg import UnpairSegConfig
from hfseg.models.unpairseg.convert_unpairseg import convert_state_dict
from hfseg.models.unpairseg.modeling_unpairseg import UnpairSegForMaskGeneration

ShapeSpec = namedtuple("ShapeSpec", ["channels", "stride"], defaults=[None, None])


class Conv2d(nn.Conv2d):
    """Convolution, norm, activation."""

    def __init__(self, *arguments: Any, norm: nn.Module | None = None, activation: Any = None, **kwargs: Any) -> None:
        super().__init__(*arguments, **kwargs)
        self.norm, self.activation = norm, activation

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Shape: as of `nn.Conv2d`."""
        x = super().forward(x)
        x = x if self.norm is None else self.norm(x)
        return x if self.activation is None else self.activation(x)


class Registry(dict):
    """Classes by name."""

    def __init__(self, name: str = "") -> None:
        super().__init__()

    def register(self) -> Any:
        """Returns a decorator that adds a class."""
        return lambda made: self.setdefault(made.__name__, made)


class ImageList:
    """Images of equal size, whose sides the divisor divides."""

    @classmethod
    def from_tensors(cls, tensors: list[torch.Tensor], divisor: int) -> Any:
        """Stacks."""
        return types.SimpleNamespace(tensor=torch.stack(tensors))


class _Module(types.ModuleType):
    """A module in which every name that is not set is an empty class."""

    __path__: list[str] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {})


def stand_ins() -> dict[str, types.ModuleType]:
    """Builds what their modules import and inference hardly uses."""
    names = (
        "detectron2 detectron2.config detectron2.layers detectron2.modeling detectron2.modeling.backbone "
        "detectron2.structures detectron2.utils detectron2.utils.memory detectron2.utils.registry "
        "detectron2.utils.comm detectron2.data detectron2.data.detection_utils fvcore fvcore.nn "
        "fvcore.nn.weight_init fvcore.transforms open_clip MultiScaleDeformableAttention"
    ).split()
    modules: dict[str, Any] = {name: _Module(name) for name in names}
    for name, module in modules.items():
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(modules[parent], child, module)
    modules["detectron2.config"].configurable = lambda made: made
    modules["detectron2.layers"].__dict__.update(
        Conv2d=Conv2d, ShapeSpec=ShapeSpec, get_norm=lambda _, channels: nn.GroupNorm(32, channels), cat=torch.cat
    )
    registries = ("META_ARCH_REGISTRY", "SEM_SEG_HEADS_REGISTRY", "BACKBONE_REGISTRY")
    modules["detectron2.modeling"].__dict__.update({name: Registry() for name in registries})
    modules["detectron2.modeling"].__dict__.update(Backbone=nn.Module, ShapeSpec=ShapeSpec)
    modules["detectron2.modeling.backbone"].Backbone = nn.Module
    modules["detectron2.structures"].ImageList = ImageList
    modules["detectron2.utils.memory"].retry_if_cuda_oom = lambda function: function
    modules["detectron2.utils.registry"].Registry = Registry
    comm = {
        "get_local_rank": lambda: 0,
        "synchronize": lambda: None,
        "get_world_size": lambda: 1,
        "get_rank": lambda: 0,
    }
    modules["detectron2.utils.comm"].__dict__.update(comm)
    # Their initial values are replaced.
    modules["fvcore.nn.weight_init"].__dict__.update(c2_xavier_fill=lambda _: None, c2_msra_fill=lambda _: None)
    return modules


def authors_model(code: str, config: UnpairSegConfig, side: int, points_per_side: int) -> nn.Module:
    """Builds their stage-1 model with random weights.

    Args:
        code: Checkout of their repository.
        config: Of our model, whose sizes theirs gets.
        side: Of the square input.
        points_per_side: Of the grid.

    Raises:
        ValueError: If the folder is not such a checkout, or timm is missing.
    """
    folder = Path(code)
    if not (folder / "lib" / "models" / "framework" / "uni_ovseg.py").is_file():
        raise ValueError(
            f"--authors_code {code}: it has no lib/models/framework; give a checkout of Unpair-Seg.pytorch."
        )
    try:
        from timm.models.convnext import ConvNeXt
    except ImportError as error:
        raise ValueError("Their trunk needs timm: pip install timm.") from error
    trunk: Any = config.backbone_config
    sizes = list(trunk.hidden_sizes)

    clip = nn.Module()
    clip.visual = nn.Module()
    clip.visual.trunk = ConvNeXt(depths=tuple(trunk.depths), dims=tuple(sizes), num_classes=0)
    clip.register_buffer("text_projection", torch.zeros(1, 1), persistent=False)
    modules = stand_ins()
    modules["open_clip"].__dict__.update(
        create_model_and_transforms=lambda *_, **__: (clip, None, None), get_tokenizer=lambda _: None
    )
    with mock.patch.dict(sys.modules, modules), mock.patch.object(sys, "path", [str(folder), *sys.path]):
        models = importlib.import_module("lib.models")
        pixels = importlib.import_module("lib.models.pixel_decoder.msdeformattn").MSDeformAttnPixelDecoder
        masks = importlib.import_module("lib.models.transformer_decoder.mask_decoder").MultiScaleMaskDecoder
        prompts = importlib.import_module("lib.models.prompt_decoder.encoder").PromptEncoder
        for name in [name for name in sys.modules if name == "lib" or name.startswith("lib.")]:
            del sys.modules[name]
    specifications = {f"res{2 + i}": ShapeSpec(size, 4 * 2**i) for i, size in enumerate(sizes)}
    pixel_decoder = pixels(
        specifications,
        transformer_dropout=0.0,
        transformer_nheads=config.num_attention_heads,
        transformer_dim_feedforward=config.encoder_feedforward_dim,
        transformer_enc_layers=config.encoder_layers,
        conv_dim=config.feature_size,
        mask_dim=config.mask_feature_size,
        norm="GN",
        transformer_in_features=["res3", "res4", "res5"],
        common_stride=4,
    )
    mask_decoder = masks(
        config.feature_size,
        embed_dim=config.hidden_size,
        nheads=config.num_attention_heads,
        dim_feedforward=config.dim_feedforward,
        dec_layers=config.decoder_layers,
        pre_norm=False,
        mask_dim=config.mask_feature_size,
        enforce_input_project=False,
        prompt_encoder=prompts(config.hidden_size, [side, side], config.num_masks),
    )
    model = models.UniOVSeg_S1(
        backbone=models.CLIP("convnext_large_d_320", None),
        pixel_decoder=pixel_decoder,
        mask_decoder=mask_decoder,
        size_divisibility=32,
        pixel_mean=(122.7709383, 116.7460125, 104.09373615),
        pixel_std=(68.5005327, 66.6321579, 70.32316305),
        pts_per_side_test=(points_per_side, points_per_side),
        input_size=(side, side),
        sem_seg_postprocess_before_inference=True,
    ).eval()
    return model


def center_scores(theirs: Any, ours: UnpairSegForMaskGeneration, values: torch.Tensor, points: int) -> None:
    """Shifts the score heads of both so that half of an image's masks pass the threshold.

    Fresh scores all lie on one side of it, and their code fails when no mask passes. The threshold of theirs is fixed:
    0.65 after a second sigmoid.

    Shape:
        values: `(1, 3, S, S)`, normalized.
    """
    heads = theirs.sem_seg_head["predictor"].iou_embed
    with torch.no_grad():
        scores = torch.logit(ours(pixel_values=values, points_per_side=points).iou_scores)  # (1, Q, M)
        wanted = torch.logit(torch.tensor(math.log(0.65 / 0.35)))
        for head, median in zip(heads[1:], scores.flatten(0, 1).median(0).values):  # the first is of boxes
            head.layers[-1].bias += wanted - median
    ours.load_state_dict(convert_state_dict(dict(theirs.state_dict())))


def same_weights(theirs: nn.Module, config: UnpairSegConfig) -> UnpairSegForMaskGeneration:
    """Builds our model with the weights of theirs."""
    ours = UnpairSegForMaskGeneration(config).eval()
    ours.load_state_dict(convert_state_dict(dict(theirs.state_dict())))
    return ours
