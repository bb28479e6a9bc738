# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Speed and memory of VPNeXt beside transformers' heads on a ViT of the same size, all interleaved in one process.

Peers: EoMT (queries inside the ViT, masks), DPT and UPerNet (dense decoders on four of its blocks). `bare` is the ViT
with a 1x1 classifier and nothing else: what `vpnext-vcr` costs beyond it is its one LayerNorm. Weights are random;
deformable offsets are spread by about a pixel.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from hfseg.layers.deformable_convolution import FORMS, ModulatedDeformableConv2d
from hfseg.layers.upsampled_convolution import convolve_upsampled, convolve_upsampled_plain
from hfseg.models.backbone import build_backbone
from hfseg.models.vpnext.configuration_vpnext import VPNeXtConfig
from hfseg.models.vpnext.modeling_vpnext import VPNeXtForSemanticSegmentation, VPNeXtHiCLRIteration

from .speed import SEED, SpeedOptions, compare, interleave, measure_memory, pixel_values, precision

# Hidden size, blocks, heads.
VITS = {"ViT-T": (192, 12, 3), "ViT-S": (384, 12, 6), "ViT-B": (768, 12, 12), "ViT-L": (1024, 24, 16)}
NUM_CLASSES = 59
VARIANTS: dict[str, dict[str, Any]] = {
    "vpnext-vcr": {"use_vitup": False},
    "vpnext-lite": {"hiclr_channels": 256, "hiclr_context_channels": 256},
    "vpnext": {},
}
PEERS = ("eomt", "dpt", "upernet")
BARE = "bare"


class BareClassifier(nn.Module):
    """A ViT and a 1x1 classifier."""

    def __init__(self, config: VPNeXtConfig):
        super().__init__()
        self.backbone: Any = build_backbone(config.backbone_config)
        self.classifier = nn.Conv2d(self.backbone.channels[-1], NUM_CLASSES, 1)

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Shape: `(B, 3, H, W)` -> `(B, K, h, w)`."""
        return self.classifier(self.backbone(pixel_values).feature_maps[-1])


def vit(name: str, **fields: Any) -> dict[str, Any]:
    """Describes a DINOv3-like ViT with patches of 16.

    Raises:
        ValueError: For an unknown name.
    """
    if name not in VITS:
        raise ValueError(f"--backbone {name!r} is not known: choose one of {', '.join(VITS)}.")
    width, depth, heads = VITS[name]
    sizes = {"hidden_size": width, "num_hidden_layers": depth, "num_attention_heads": heads}
    return {
        "model_type": "dinov3_vit",
        "intermediate_size": 4 * width,
        "num_register_tokens": 0,
        "apply_layernorm": False,
        **sizes,
        **fields,
    }


def build_ours(name: str, backbone: str) -> VPNeXtForSemanticSegmentation:
    """Builds a variant; offsets are a pixel or so."""
    torch.manual_seed(SEED)
    fields = VARIANTS[name]
    config = VPNeXtConfig(backbone_config=vit(backbone), num_labels=NUM_CLASSES, use_vcr=False, **fields)  # type: ignore[call-arg]
    model = VPNeXtForSemanticSegmentation(config).eval()
    with torch.no_grad():
        for step in model.modules():
            if isinstance(step, VPNeXtHiCLRIteration):
                step.offsets.weight.normal_(std=(9 * step.offsets.in_channels) ** -0.5)
    return model


def build_peer(name: str, backbone: str, size: tuple[int, int]) -> nn.Module:
    """Builds transformers' head on a ViT of the same size.

    Raises:
        ValueError: For an unknown name, or an input that EoMT cannot have.
    """
    import transformers

    torch.manual_seed(SEED)
    config = vit(backbone)
    labels: dict[str, Any] = {"num_labels": NUM_CLASSES}
    width, depth = config["hidden_size"], config["num_hidden_layers"]
    stages = [f"stage{depth * part // 4}" for part in (1, 2, 3, 4)]
    if name == "eomt":
        if size[0] != size[1] or size[0] % 16:
            raise ValueError(f"EoMT takes squares of whole patches only, not {size[0]} x {size[1]}.")
        fields = {key: value for key, value in config.items() if key not in ("model_type", "apply_layernorm")}
        return transformers.EomtDinov3ForUniversalSegmentation(
            transformers.EomtDinov3Config(**fields, image_size=size[0], **labels)
        ).eval()
    if name == "upernet":
        return transformers.UperNetForSemanticSegmentation(
            transformers.UperNetConfig(
                backbone_config=transformers.DINOv3ViTConfig(
                    **{key: value for key, value in config.items() if key != "model_type"},
                    **dict[str, Any](out_features=stages),
                ),
                auxiliary_in_channels=width,
                **labels,
            )
        ).eval()
    if name == "dpt":
        # Its own ViT, which has the sizes and the cost of the others.
        return transformers.DPTForSemanticSegmentation(
            transformers.DPTConfig(
                hidden_size=width,
                intermediate_size=config["intermediate_size"],
                num_hidden_layers=depth,
                num_attention_heads=config["num_attention_heads"],
                image_size=size[0],
                patch_size=16,
                backbone_out_indices=[depth * part // 4 - 1 for part in (1, 2, 3, 4)],
                neck_hidden_sizes=[width // 4, width // 2, width, width],
                **labels,
            )
        ).eval()
    raise ValueError(f"{name!r} is not known: choose one of {', '.join(PEERS)}.")


def semantic_speed_table(
    settings: SpeedOptions, rows: list[str], peers: list[str]
) -> tuple[dict[str, list[dict]], list[str]]:
    """Compares forward passes.

    Args:
        settings: Backbone, size, batch sizes and the way of measuring.
        rows: Keys of `VARIANTS`.
        peers: Of `PEERS`.

    Returns:
        Tables of speed, of deformable convolution's share, and of agreement; and notes.

    Raises:
        ValueError: For unknown rows or peers.
    """
    unknown = [row for row in rows if row not in VARIANTS]
    if unknown:
        raise ValueError(f"--rows {' '.join(unknown)}: choose of {', '.join(VARIANTS)}.")
    if settings.threads:
        torch.set_num_threads(settings.threads)
    ours = {row: build_ours(row, settings.backbone).to(settings.place) for row in rows}  # type: ignore[arg-type]
    torch.manual_seed(SEED)
    bare_config = VPNeXtConfig(backbone_config=vit(settings.backbone), num_labels=NUM_CLASSES, use_vcr=False)  # type: ignore[call-arg]
    models: dict[str, Any] = {BARE: BareClassifier(bare_config).eval(), **ours}
    models |= {name: build_peer(name, settings.backbone, settings.size) for name in peers}
    models = {name: model.to(settings.place) for name, model in models.items()}
    agreement = [agreement_row(name, model) for name, model in ours.items() if model.config.upsamples]
    shares = [share_row(name, model, settings) for name, model in ours.items() if model.config.upsamples]
    parameters = {name: sum(p.numel() for p in model.parameters()) / 1e6 for name, model in models.items()}
    if settings.compile:
        models = {name: torch.compile(model) for name, model in models.items()}

    table = []
    for batch_size in settings.batch:
        inputs = pixel_values(settings, batch_size)

        def call(model: Callable, inputs: torch.Tensor = inputs) -> Callable[[], Any]:
            def run():
                with torch.no_grad(), precision(settings):
                    return model(pixel_values=inputs)

            return run

        sides = {name: call(model) for name, model in models.items()}
        times = interleave(sides, settings)
        memory = {name: measure_memory(side, settings) for name, side in sides.items()}
        for name in models:
            row = compare(name, times[name], times[BARE])
            table.append(
                {
                    "batch": batch_size,
                    "model": name,
                    "parameters (M)": parameters[name],
                    "ms": row["ours ms"],
                    "min ms": row["ours min ms"],
                    "MiB": memory[name],
                    f"ratio to {BARE}": row["ratio"],
                    "ratios": row["ratios"],
                    **{f"ratio to {peer}": compare(name, times[name], times[peer])["ratio"] for peer in peers},
                }
            )
    notes = [
        f"{settings.backbone}/16, input {settings.size[0]}x{settings.size[1]}, {NUM_CLASSES} classes, {settings.dtype}"
        + (" autocast" if settings.dtype != "float32" else "")
        + f", {'compiled' if settings.compile else 'eager'}, {settings.rounds} rounds; clock: {settings.clock}.",
        f"ratio: median over rounds of a row's time over that of the column's model in the same round. {BARE}: ViT and "
        "a 1x1 classifier. Outputs differ in kind: bare and vpnext-vcr give logits at a 16th of the size, the other "
        "variants at a quarter, DPT at a half, UPerNet at the input's, EoMT masks and classes per query.",
        "MiB: peak of tensor memory during a forward, above weights and input.",
        "share: time inside deformable convolutions (offsets not included), by hooks, one forward, not compiled.",
        "agreement: largest difference of the forms of deformable convolution, and of the convolution of the upsampled "
        "context, over the largest value; float32, random input of 8 x 8 patches.",
    ]
    title = "Speed of the forward pass"
    tables = {
        title: table,
        "Deformable convolution": shares,
        "Agreement of fast paths with their plain forms": agreement,
    }
    return {name: rows for name, rows in tables.items() if rows}, notes


def share_row(name: str, model: VPNeXtForSemanticSegmentation, settings: SpeedOptions) -> dict:
    """Measures which part of a forward pass deformable convolutions take."""
    clock = time.process_time if settings.place.type == "cpu" and torch.get_num_threads() == 1 else time.perf_counter

    def now() -> float:
        if settings.place.type == "cuda":
            torch.cuda.synchronize(settings.place)
        return clock()

    spent: list[float] = []
    handles = []
    for module in model.modules():
        if isinstance(module, ModulatedDeformableConv2d):
            handles.append(module.register_forward_pre_hook(lambda *_: spent.append(-now())))
            handles.append(module.register_forward_hook(lambda *_: spent.append(now())))
    inputs = pixel_values(settings, 1)
    total = 0.0
    with torch.no_grad(), precision(settings):
        for _ in range(2):  # the first is not counted
            spent.clear()
            start = now()
            model(pixel_values=inputs)
            total = now() - start
    for handle in handles:
        handle.remove()
    return {
        "model": name,
        "forward ms": 1000 * total,
        "deformable ms": 1000 * sum(spent),
        "%": 100 * sum(spent) / total,
    }


@torch.no_grad()
def agreement_row(name: str, model: VPNeXtForSemanticSegmentation) -> dict:
    """Compares the forms of deformable convolution, and of the convolution of an upsampled map, on random input."""
    step = next(module for module in model.modules() if isinstance(module, VPNeXtHiCLRIteration))
    generator = torch.Generator().manual_seed(SEED)
    weight, kernel = step.sample.weight.cpu(), step.offsets.weight.cpu()
    side = 8 * step.ratio
    fine = torch.randn(1, weight.shape[1], side, side, generator=generator)
    offsets = torch.randn(1, 18, side, side, generator=generator)
    modulation = torch.rand(1, 9, side, side, generator=generator)
    context = F.layer_norm(torch.randn(1, 8, 8, kernel.shape[1], generator=generator), (kernel.shape[1],))
    context = context.permute(0, 3, 1, 2)
    outputs = {form: function(fine, offsets, modulation, weight) for form, function in FORMS.items()}
    reference = outputs["torchvision"]
    row: dict[str, Any] = {"model": name}
    for form in ("gather", "grid_sample"):
        row[f"deformable: {form}"] = ((outputs[form] - reference).abs().max() / reference.abs().max()).item()
    plain, fast = convolve_upsampled_plain(context, kernel, step.ratio), convolve_upsampled(context, kernel, step.ratio)
    row["upsampled convolution"] = ((fast - plain).abs().max() / plain.abs().max()).item()
    return row
