# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Official checkpoints of PRO-SCALE: the authors' numbers after conversion."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import AutoModelForUniversalSegmentation

from golden import Case, read_case
from hfseg import ProScaleForUniversalSegmentation
from hfseg.commands.convert import main as convert_command
from hfseg.models.proscale.convert_proscale import convert_state_dict
from hfseg.models.proscale.encoder_proscale import ProScalePixelDecoder
from proscale_models import close, tap, tiny_config


def converted(case: Case, folder: Path) -> ProScaleForUniversalSegmentation:
    """Converts a case's weights with the command and loads the folder."""
    checkpoint, output = folder / "official.safetensors", folder / "converted"
    save_file(case.weights, checkpoint)
    arguments = ["--architecture", "proscale", "--checkpoint", str(checkpoint), "--config", str(case.config_file)]
    assert convert_command([*arguments, "--output_dir", str(output)]) == 0
    model, info = AutoModelForUniversalSegmentation.from_pretrained(output, output_loading_info=True)
    assert type(model) is ProScaleForUniversalSegmentation
    assert not (info["missing_keys"] or info["unexpected_keys"] or info["mismatched_keys"])
    return model


def test_golden_evaluation(tmp_path):
    case = read_case("proscale/swin_full_eval")
    model, found = converted(case, tmp_path), {}
    assert model.config.stuff_class_ids == list(range(6, 11))
    pixel_decoder = model.model.pixel_decoder
    tap(model.model.backbone, found, "backbone")
    tap(pixel_decoder.token_recalibration, found, "trc")
    for index, module in enumerate(pixel_decoder.layers):
        tap(module, found, f"encoder_layer_{index}")
    for index, module in enumerate(pixel_decoder.input_projections):
        tap(module, found, f"proj_s{4 - index}")
    with torch.no_grad():
        outputs = model(case.inputs["pixel_values"], output_auxiliary_logits=True)

    expected = case.outputs
    taps = {name: values[0] for name, values in found.items() if name not in ("backbone", "trc")}
    taps |= dict(zip(("trc_s4", "trc_s3"), found["trc"]))
    taps |= {f"res{index + 2}": features for index, features in enumerate(found["backbone"][0].feature_maps)}
    taps["mask_features"] = outputs.pixel_embedding
    assert len(taps) == 4 + 4 + 3 + 2 + 1
    for name, value in taps.items():
        close(value, expected[name])
    close(outputs.class_queries_logits, expected["pred_logits"], 1e-3, 5e-4)
    close(outputs.masks_queries_logits, expected["pred_masks"], 1e-3, 5e-4)
    assert len(outputs.auxiliary_logits) == 4
    for index, level in enumerate(outputs.auxiliary_logits):
        close(level["class_queries_logits"], expected[f"aux_{index}_pred_logits"], 1e-3, 5e-4)
        close(level["masks_queries_logits"], expected[f"aux_{index}_pred_masks"], 1e-3, 5e-4)
    # The same without the auxiliary output, which computes less.
    with torch.no_grad():
        close(model(case.inputs["pixel_values"]).masks_queries_logits, expected["pred_masks"], 1e-3, 5e-4)


def test_golden_training_loss_and_gradients(tmp_path):
    case = read_case("proscale/swin_train_loss")
    model = converted(case, tmp_path).train()
    mean = torch.tensor([123.675, 116.28, 103.53]).view(3, 1, 1)
    std = torch.tensor([58.395, 57.12, 57.375]).view(3, 1, 1)
    images = [(case.inputs[f"image_{index}"].float() - mean) / std for index in range(2)]
    pixel_values = torch.stack([F.pad(image, (0, 96 - image.shape[2], 0, 64 - image.shape[1])) for image in images])
    masks = [case.inputs[f"masks_{index}"] for index in range(2)]  # of the images' own sizes, one smaller than padded
    torch.manual_seed(case.config["loss_seed"])
    outputs = model(pixel_values, mask_labels=masks, class_labels=[case.inputs[f"labels_{i}"] for i in range(2)])
    outputs.loss.backward()

    expected = case.outputs
    assert {f"loss/{name}" for name in outputs.loss_dict} == {name for name in expected if name.startswith("loss/")}
    for name, value in outputs.loss_dict.items():
        close(value, expected[f"loss/{name}"], 1e-4, 0.0)
    close(outputs.loss, expected["loss_total"], 1e-4, 0.0)

    # Gradients, written as if they were weights, get the names that the converter gives.
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.grad)
    model.save_pretrained(tmp_path / "gradients")
    gradients, compared = load_file(tmp_path / "gradients" / "model.safetensors"), 0
    for key, weight in case.weights.items():
        norm = expected.get(f"grad_norm/{key}")
        if norm is None:
            continue
        parts = [gradients[name] for name in convert_state_dict({key: weight})]
        actual = torch.stack([part.double().norm() for part in parts]).norm().float()
        close(actual, norm.float(), 2e-3, 1e-5)
        compared += 1
    assert compared == sum(name.startswith("grad_norm/") for name in expected)


def test_resnet_checkpoint_converts(tmp_path):
    """detectron2's ResNet is torchvision's under other names; the rest comes from a case with the other backbone."""
    pytest.importorskip("torchvision")
    from torchvision.models.resnet import Bottleneck, ResNet

    torch.manual_seed(0)
    theirs = ResNet(Bottleneck, [1, 1, 2, 1]).eval()
    for tensor in theirs.state_dict().values():  # statistics and affine values that are not 0 and 1
        if tensor.dim() == 1 and tensor.is_floating_point():
            tensor.uniform_(0.5, 1.5)
    case = read_case("proscale/swin_full_eval")
    weights = {key: value for key, value in case.weights.items() if not key.startswith("backbone.")}
    for level, channels in enumerate((2048, 1024, 512)):
        key = f"sem_seg_head.pixel_decoder.input_proj.{level}.0.weight"
        weights[key] = torch.randn(len(weights[key]), channels, 1, 1) * channels**-0.5
    key = "sem_seg_head.pixel_decoder.adapter_1.weight"
    weights[key] = torch.randn(len(weights[key]), 256, 1, 1)
    for key, tensor in theirs.state_dict().items():
        if key.startswith("fc.") or key.endswith("num_batches_tracked"):
            continue
        key = key.replace("downsample.0.", "shortcut.").replace("downsample.1.", "shortcut.norm.")
        key = re.sub(r"\bbn(\d)\.", r"conv\1.norm.", key)
        key = re.sub(r"^layer(\d)\.", lambda match: f"res{int(match[1]) + 1}.", key)
        weights["backbone." + (key if key.startswith("res") else f"stem.{key}")] = tensor

    config = {name: value for name, value in case.config.items() if name != "swin"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    model = converted(Case(config, {}, {}, weights, tmp_path / "config.json"), tmp_path)
    assert model.config.backbone_config.depths == [1, 1, 2, 1] and model.config.freeze_batch_norm
    pixel_values = torch.randn(2, 3, 65, 90)
    with torch.no_grad():
        x = theirs.maxpool(theirs.relu(theirs.bn1(theirs.conv1(pixel_values))))
        for stage, features in enumerate(model.model.backbone(pixel_values).feature_maps, start=1):
            x = getattr(theirs, f"layer{stage}")(x)
            close(features, x)
        assert torch.isfinite(model(pixel_values).masks_queries_logits).all()


@pytest.mark.parametrize("variant", ["published", "conv_trc", "no_trc", "residual", "conv_mask"])
def test_golden_pixel_decoder(variant):
    case = read_case("proscale/pixel_decoder")
    weights, fields = dict(case.weights), {}
    if variant == "conv_trc":
        fields["trc"] = "conv"
    elif variant == "no_trc":
        fields["trc"] = "none"
        weights = {key: value for key, value in weights.items() if "token_excite" not in key}
    elif variant == "residual":
        fields["trc_residual"] = True
    elif variant == "conv_mask":
        fields["lpe"] = "conv"
        weights["sem_seg_head.pixel_decoder.layer_1.weight"] = case.inputs["conv_mask_layer_1_weight"]
    config = tiny_config(
        encoder_stage_layers=(2, 1, 2), feature_size=64, mask_feature_size=40, encoder_feedforward_dim=128, **fields
    )
    model = ProScalePixelDecoder(config, case.config["in_channels"]).eval()
    weights = {key.removeprefix("model.pixel_decoder."): value for key, value in convert_state_dict(weights).items()}
    model.load_state_dict(weights)
    found: dict[str, Any] = {}
    for index, module in enumerate(model.layers):
        tap(module, found, f"encoder_layer_{index}")
    tap(model.light_pixel_embedding.lateral, found, "lateral")
    tap(model.light_pixel_embedding.norm, found, "lpe_out")
    with torch.no_grad():
        outputs = model(tuple(case.inputs[name] for name in ("res2", "res3", "res4", "res5")))
    prefix = "" if variant == "published" else f"{variant}/"
    close(outputs.pixel_embedding, case.outputs[f"{prefix}mask_features"])
    for index, features in enumerate(outputs.multi_scale_features):
        close(features, case.outputs[f"{prefix}multi_scale_{index}"])
    if variant == "published":
        found["lpe_out"][0] = found["lpe_out"][0].relu()
        for name, (value,) in found.items():
            close(value, case.outputs[name])
