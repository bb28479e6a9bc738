# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""VPNeXt: the common contract, ViTUp's arithmetic, removal of VCR, gradient routing, backbones, modes, sizes."""

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from transformers import AutoModelForSemanticSegmentation

from contract import ModelContract, assert_same, fans, peaked, xavier
from hfseg import VPNeXtForSemanticSegmentation, VPNeXtImageProcessor, VPNeXtModel
from hfseg.layers.upsampled_convolution import upsample
from hfseg.models.vpnext.modeling_vpnext import VPNeXtContextReplay, deform
from vpnext_models import BEIT, DINOV2, DINOV3, tiny_config

AUGREG = {"model_type": "timm_backbone", "backbone": "vit_tiny_patch16_224", "out_indices": [0, 1, 2]}
EVA02 = {"model_type": "timm_backbone", "backbone": "eva02_tiny_patch14_224", "out_indices": [0, 1, 2]}
TIMM_KWARGS = {"depth": 3, "embed_dim": 48, "num_heads": 2, "img_size": 64, "patch_size": 16, "dynamic_img_size": True}


def tiny_model(**fields: Any) -> VPNeXtForSemanticSegmentation:
    """Builds a seeded model with peaked weights, in evaluation mode."""
    torch.manual_seed(0)
    return peaked(VPNeXtForSemanticSegmentation(tiny_config(**fields))).eval()


def images(height: int = 48, width: int = 64, batch_size: int = 2) -> torch.Tensor:
    """Draws normalized images."""
    return torch.randn(batch_size, 3, height, width, generator=torch.Generator().manual_seed(1))


def label_maps(height: int = 48, width: int = 64, batch_size: int = 2) -> torch.Tensor:
    """Draws labels of five classes with some void."""
    labels = torch.randint(0, 5, (batch_size, height, width), generator=torch.Generator().manual_seed(2))
    labels[:, :4] = 255
    return labels


def he(weight: torch.Tensor) -> float:
    """Root mean square of He's normal draw by the number of outputs."""
    return (2 / fans(weight)[1]) ** 0.5


class TestVPNeXtModel(ModelContract):
    model_class = VPNeXtModel
    auto_classes = ("AutoModel",)
    recorded = {"hidden_states": 4, "attentions": 3}
    not_applicable = dict.fromkeys(
        ("test_compiles_to_one_graph", "test_exports_with_dynamic_shapes"),
        "the test of the head runs the whole of this model; twice would only cost time",
    )
    # A key's bias shifts all logits of a query alike.
    zero_gradients = (".k_proj.bias",)

    def config(self):
        return tiny_config(use_vcr=False)

    def labels(self, batch_size, height, width, empty=False):
        return {}

    def shapes(self, batch_size, height, width):
        patches = (-(-height // 8), -(-width // 8))
        return {
            "last_hidden_state": (batch_size, 24, 2 * patches[0], 2 * patches[1]),
            "context": (batch_size, 32, *patches),
        }

    def fresh(self):
        # Section 4 of the specification: convolutions after He by outputs, offsets zero, norms neutral.
        return {
            "*.offsets.*": 0.0,
            "*norm.weight": 1.0,
            "*norm.bias": 0.0,
            "*vitup.*.weight": he,
        }


class TestVPNeXtForSemanticSegmentation(TestVPNeXtModel):
    """With the auxiliary heads of training, kept in saved folders so that a reload can be compared."""

    model_class = VPNeXtForSemanticSegmentation
    auto_classes = ("AutoModelForSemanticSegmentation", "AutoModelForImageSegmentation")
    not_applicable = {}

    def config(self):
        return tiny_config(save_vcr=True)

    def labels(self, batch_size, height, width, empty=False):
        labels = torch.full((batch_size, height, width), 255)
        if not empty:
            labels[:, : height // 2, : width // 2] = 1
            labels[:, height // 2 :, width // 3 :] = 4
        return {"labels": labels}

    def shapes(self, batch_size, height, width):
        return {"logits": (batch_size, 5, 2 * -(-height // 8), 2 * -(-width // 8))}

    def fresh(self):
        classifiers = {
            "*classifier*.weight": 0.01,
            "*classifier*.bias": 4.59511985,  # -log 99: each class begins at a probability of 0.01
        }
        projections = {f"vcr.{name}*.weight": xavier for name in ("query", "key", "value")}
        return {
            **classifiers,
            **projections,
            "*.offsets.*": 0.0,
            "*norm*.weight": 1.0,
            "*norm*.bias": 0.0,
            "*vitup.*.weight": he,
            "vcr.local.*.weight": he,
        }


# ViTUp.


@pytest.mark.parametrize(
    ("backbone", "timm_kwargs", "stride"),
    [(DINOV3, None, 4), (DINOV2, None, 7), (BEIT, None, 4), (AUGREG, TIMM_KWARGS, 4), (EVA02, TIMM_KWARGS, 4)],
    ids=["dinov3", "dinov2", "beit", "augreg", "eva02"],
)
@pytest.mark.parametrize("phase", [0, 1])
def test_tokens_are_in_the_fine_map(backbone, timm_kwargs, stride, phase):
    """Every r-th position of the fine map is a token of the backbone, bit by bit; gradients, odd sizes, reload work."""
    if timm_kwargs:
        pytest.importorskip("timm")
    torch.manual_seed(0)
    config = tiny_config(
        backbone_config=backbone, timm_kwargs=timm_kwargs, vitup_stride=stride, vitup_pad_before=phase * stride
    )
    model = VPNeXtForSemanticSegmentation(config).eval()
    embedding, found = model.model.patch_embedding, []
    embedding.register_forward_hook(lambda _, inputs, output: found.append(output))
    patch = model.model.patch_size
    pixel_values = images(3 * patch, 4 * patch)
    with torch.no_grad():
        outputs = model(pixel_values, output_auxiliary_logits=True)
        fine = model.model.fine_patch_embedding(pixel_values)
    ratio = patch // stride
    assert len(found) == 1  # the backbone's own run; the fine one leaves the module alone
    tokens = found[0] if found[0].shape[1] == embedding.out_channels else found[0].permute(0, 3, 1, 2)
    assert fine.shape == (2, embedding.out_channels, 3 * ratio, 4 * ratio)
    assert torch.equal(fine[:, :, phase::ratio, phase::ratio], tokens)
    assert outputs.logits.shape == (2, 5, 3 * ratio, 4 * ratio)
    assert model.config.supervised_layers == (1, 2)
    loss = model.train()(images(3 * patch, 4 * patch + 3), label_maps(3 * patch, 4 * patch + 3)).loss
    loss.backward()
    without = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not without


@pytest.mark.parametrize("backbone", [AUGREG, EVA02], ids=["augreg", "eva02"])
def test_timm_backbones_come_back(tmp_path, backbone):
    """What timm was built with is in our configuration; its own forgets it."""
    pytest.importorskip("timm")
    model = tiny_model(backbone_config=backbone, timm_kwargs=TIMM_KWARGS)
    model.save_pretrained(tmp_path)
    again = AutoModelForSemanticSegmentation.from_pretrained(tmp_path)
    with torch.no_grad():
        for size in ((48, 64), (80, 32)):
            assert torch.equal(again(images(*size)).logits, model(images(*size)).logits)
    assert AutoModelForSemanticSegmentation.from_pretrained(tmp_path, use_vcr=True).vcr is not None


def test_fresh_iterations_are_convolutions():
    """Zero offsets and a modulation of one half: HiCLR begins as plain convolutions of the concatenated maps."""
    torch.manual_seed(0)
    model = VPNeXtModel(tiny_config(hiclr_context_channels=12)).eval()
    vitup, pixel_values = model.vitup, images()
    with torch.no_grad():
        outputs = model(pixel_values)
        context = upsample(vitup.proj(outputs.context), 2)
        expected = vitup.input(model.fine_patch_embedding(pixel_values))
        for step in vitup.iterations:
            sampled = step.sample_norm(F.conv2d(expected, step.sample.weight / 2, padding=1))
            fused = step.fuse_norm(step.fuse(torch.cat((sampled, context), dim=1)))
            expected = F.gelu(expected + step.output_norm(step.output(fused)))
    torch.testing.assert_close(outputs.last_hidden_state, expected, rtol=1e-4, atol=1e-5)


def test_iterations_are_the_formula():
    """With learned offsets too, against the formula with everything at full resolution and another deformable form."""
    model = tiny_model(hiclr_iterations=1)
    step = model.model.vitup.iterations[0]
    generator = torch.Generator().manual_seed(3)
    fine, context = torch.randn(2, 24, 12, 16, generator=generator), torch.randn(2, 32, 6, 8, generator=generator)
    with torch.no_grad():
        actual = step(fine, context)
        large = upsample(context, 2)
        steering = step.offsets(large)
        step.sample.form = "grid_sample"
        sampled = step.sample_norm(step.sample(fine, steering[:, :18], steering[:, 18:].sigmoid()))
        fused = step.fuse_norm(step.fuse(torch.cat((sampled, large), dim=1)))
        expected = F.gelu(fine + step.output_norm(step.output(fused)))
    assert steering[:, :18].abs().max() > 1
    torch.testing.assert_close(actual, expected, rtol=1e-3, atol=1e-4)


# VCR.


def test_vcr_does_nothing_at_inference(tmp_path):
    model, pixel_values = tiny_model(), images()
    without = tiny_model(use_vcr=False)
    state = {name: value for name, value in model.state_dict().items() if not name.startswith("vcr.")}
    without.load_state_dict(state)  # strict: nothing else differs
    labels = label_maps()
    with torch.no_grad():
        expected = without(pixel_values, labels)
        actual = model(pixel_values, labels)
        assert torch.equal(actual.logits, expected.logits) and torch.equal(actual.loss, expected.loss)
        assert actual.auxiliary_logits is None
        # And in training, random draws of dropout included.
        torch.manual_seed(4)
        trained = model.train()(pixel_values, labels)
        torch.manual_seed(4)
        assert torch.equal(trained.logits, without.train()(pixel_values, labels).logits)
        assert len(trained.loss_dict) == 9 and len(expected.loss_dict) == 3

    model.eval().save_pretrained(tmp_path)
    assert model.config.use_vcr and model.vcr is not None  # saving changes nothing here
    saved = load_file(tmp_path / "model.safetensors")
    assert len(saved) == len(state) and not [name for name in saved if "vcr" in name]
    again, info = AutoModelForSemanticSegmentation.from_pretrained(tmp_path, output_loading_info=True)
    assert again.vcr is None and not again.config.use_vcr
    assert not (info["missing_keys"] or info["unexpected_keys"] or info["mismatched_keys"])
    with torch.no_grad():
        assert torch.equal(again(pixel_values).logits, expected.logits)
    more = AutoModelForSemanticSegmentation.from_pretrained(tmp_path, use_vcr=True)
    assert isinstance(more.vcr, VPNeXtContextReplay) and more.config.vcr_layers == model.config.vcr_layers
    assert more.vcr.classifiers[0].bias.mean().item() == pytest.approx(-4.595, abs=1e-3)  # initialized, not memory
    assert torch.isfinite(more.train()(pixel_values, labels).loss)


def test_vcr_stays_in_checkpoints_of_training(tmp_path):
    model = tiny_model(save_vcr=True)
    model.save_pretrained(tmp_path)
    again = VPNeXtForSemanticSegmentation.from_pretrained(tmp_path)
    assert_same(dict(again.vcr.named_parameters()), dict(model.vcr.named_parameters()))
    lean = VPNeXtForSemanticSegmentation.from_pretrained(tmp_path, use_vcr=False)
    assert lean.vcr is None


@pytest.mark.parametrize("detach", [False, True])
def test_gradients_of_vcr(detach):
    """Its own parameters learn from auxiliary losses alone; detaching cuts the last block, and nothing else."""
    heads = tiny_model(vcr_detach_context=detach).vcr
    generator = torch.Generator().manual_seed(3)
    *maps, context = [torch.randn(1, 32, 4, 6, generator=generator, requires_grad=True) for _ in range(3)]
    logits, extra = heads(tuple(maps), context)
    sum(part.square().mean() for part in logits).backward()
    assert not extra
    for name, parameter in heads.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name
    assert all(part.grad.any() for part in maps)
    assert (context.grad is None) == detach


def test_vcr_is_the_formula():
    """Equations 2 and 3, one layer at a time, with the affinity written out."""
    heads = tiny_model().vcr
    generator = torch.Generator().manual_seed(3)
    *maps, context = [torch.randn(2, 32, 4, 6, generator=generator) for _ in range(3)]
    with torch.no_grad():
        logits, _ = heads(tuple(maps), context)
        tokens = context.flatten(2).transpose(1, 2)
        affinity = (heads.query(tokens) @ heads.key(tokens).transpose(1, 2) / 16**0.5).softmax(-1)
        assert affinity.max() > 0.5
        steering = heads.offsets(context)
        for index, (features, actual) in enumerate(zip(maps, logits)):
            local = heads.local[index]
            local.form = "torchvision"
            sampled = local(heads.norms[index](features), steering[:, :18], steering[:, 18:].sigmoid())
            values = heads.value[index](heads.local_norms[index](sampled).flatten(2).transpose(1, 2))
            expected = heads.classifiers[index]((affinity @ values).transpose(1, 2).unflatten(2, (4, 6)))
            torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", ["ds", "align"])
def test_baselines_of_the_ablation(mode):
    model = tiny_model(vcr_mode=mode, use_vitup=False).train()
    outputs = model(images(), label_maps(), output_auxiliary_logits=True)
    assert len(outputs.auxiliary_logits) == 2 and outputs.logits.shape == (2, 5, 6, 8)
    assert len(outputs.loss_dict) == 9 + 2 * (mode == "align")
    torch.testing.assert_close(outputs.loss, sum(outputs.loss_dict.values()))
    outputs.loss.backward()
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]


@pytest.mark.parametrize("fields", [{"hiclr_iterations": 5}, {"hiclr_iterations": 0}, {"use_vitup": False}])
def test_iterations(fields):
    outputs = tiny_model(**fields)(images())
    fine = fields.get("hiclr_iterations", 0) > 0
    assert outputs.logits.shape == ((2, 5, 12, 16) if fine else (2, 5, 6, 8))


def test_mock_pyramid():
    model = tiny_model(vitup_upsampler="mock_pyramid")
    assert model(images()).logits.shape == (2, 5, 12, 16)
    model.train()(images(), label_maps()).loss.backward()
    assert not [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]


def test_auxiliary_weight_and_labels_of_another_size():
    """The loss is that of the parts, written out; labels of twice the size are read at the nearest pixel."""
    model = tiny_model(vcr_layers=(2,), loss_focal_weight=0, loss_dice_weight=0).train()
    labels = label_maps()
    outputs = model(images(), labels, output_auxiliary_logits=True)

    def entropy(logits):
        return F.cross_entropy(upsample(logits, 48 // logits.shape[-2]), labels, ignore_index=255)

    expected = entropy(outputs.logits) + 0.4 * entropy(outputs.auxiliary_logits[0])
    torch.testing.assert_close(outputs.loss, expected, rtol=1e-5, atol=1e-6)
    doubled = labels.repeat_interleave(2, 1).repeat_interleave(2, 2)
    torch.testing.assert_close(model(images(), doubled).loss, outputs.loss)


def test_padding_counts_nowhere():
    """An image whose sides no patch divides gives the logits of the padded one, and the loss of its own pixels."""
    model = tiny_model()
    pixel_values, labels = images(41, 59), label_maps(41, 59)
    padded = F.pad(pixel_values, (0, 5, 0, 7))
    with torch.no_grad():
        outputs = model(pixel_values, labels)
        expected = model(padded, F.pad(labels, (0, 5, 0, 7), value=255))
    assert torch.equal(outputs.logits, expected.logits)
    torch.testing.assert_close(outputs.loss, expected.loss)


# Training.


def test_layer_depth_and_weight_decay():
    model = tiny_model()
    depths = {name: model.layer_depth(name) for name, _ in model.named_parameters()}
    assert model.max_layer_depth == 4
    for name, depth in depths.items():
        if ".layer." in name:
            assert depth == int(name.split(".layer.")[1].split(".")[0]) + 1, name
        elif "embeddings" in name:
            assert depth == 0, name
        else:
            assert depth == 4, name
    exempt = model.no_weight_decay()
    assert "model.backbone.embeddings.patch_embeddings.weight" in exempt
    assert "model.backbone.embeddings.register_tokens" in exempt
    assert "model.classifier.weight" not in exempt and "model.vitup.input.0.weight" not in exempt
    assert not [name for name in exempt if name.endswith("proj.weight")]


def test_accumulation_is_exact():
    """Micro-batches weighted by their labeled pixels add up to the whole batch: loss and gradients."""
    model = tiny_model().train()
    pixel_values, labels = images(), label_maps()
    labels[0, 10:] = 255  # very unequal shares
    whole = model(pixel_values, labels).loss
    whole.backward()
    expected = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    total = model.loss_normalizer({"labels": labels})
    parts = []
    for index in range(2):
        share = model.loss_normalizer({"labels": labels[index : index + 1]}) / total
        parts.append(model(pixel_values[index : index + 1], labels[index : index + 1]).loss * share)
        parts[-1].backward()
    torch.testing.assert_close(sum(parts), whole)
    for name, gradient in expected.items():
        assert_same(model.get_parameter(name).grad, gradient, 1e-3, 1e-4)


# Published sizes.


# Bad input.


def test_backbones_that_cannot_be():
    pytest.importorskip("timm")
    config = {"model_type": "timm_backbone", "backbone": "resnet18", "out_indices": [2, 3, 4]}
    with pytest.raises(ValueError, match=r"maps of .* channels, but VPNeXt needs 3 of equal size: a plain ViT"):
        VPNeXtModel(tiny_config(backbone_config=config))
    with pytest.raises(ValueError, match="0 convolutions of 3-channel pixels"):
        VPNeXtModel(tiny_config(backbone_config={**config, "out_indices": [4]}, use_vcr=False))


def test_inputs_that_do_not_fit():
    model = tiny_model()
    with pytest.raises(ValueError, match=r"7 x 64 pixels .* smaller than one patch of 8 x 8"):
        model(images(7, 64))
    with pytest.raises(ValueError, match=r"labels hold \[5\]; must be 0\.\.4, and 255"):
        model(images(), label_maps() + (label_maps() == 4))
    with pytest.raises(ValueError, match=r"give class ids as integers \(2, height, width\)"):
        model(images(), label_maps().float())
    with pytest.raises(ValueError, match=r"shape \(1, 48, 64\)"):
        model(images(), label_maps(batch_size=1))


@pytest.mark.parametrize("height, width", [(33, 45), (48, 37), (31, 64)])
def test_results_do_not_depend_on_who_pads(height, width):
    """An image of odd sides: padded by the processor, by the model, or by more than whole patches: the same scores."""
    model = tiny_model()
    patch = model.model.patch_size
    image = np.random.default_rng(0).integers(0, 255, (height, width, 3), dtype=np.uint8)
    target, scores = (2 * height + 1, 3 * width), []
    for do_pad in (True, False):
        processor = VPNeXtImageProcessor(do_resize=False, do_pad=do_pad, size_divisor=patch)
        inputs = processor(image, return_tensors="pt")
        assert inputs["pixel_values"].shape[-2:] == ((-(-height // patch) * patch, -(-width // patch) * patch)
                                                     if do_pad else (height, width))  # fmt: skip
        with torch.no_grad():
            outputs = model(**inputs)
        results = processor.post_process_semantic_segmentation(
            outputs, [target], return_segmentation_scores=True, image_sizes=[(height, width)]
        )
        scores.append(results[0]["segmentation_scores"])
    assert scores[0].shape[-2:] == target
    torch.testing.assert_close(scores[0], scores[1], atol=0, rtol=0)


def test_affinities_are_those_that_are_replayed():
    """The affinity, applied to the values by hand, gives the auxiliary logits of training."""
    model = tiny_model().train()
    pixels = images()
    outputs = model(pixels, output_auxiliary_logits=True, output_affinities=True)
    context = model.model(pixels).context
    height, width = context.shape[-2:]
    assert outputs.affinities.shape == (2, height * width, height * width)
    torch.testing.assert_close(outputs.affinities.sum(-1), torch.ones(2, height * width))
    heads, parts = model.vcr, model.model(pixels).supervised_maps
    steering = heads.offsets(context)
    for index, part in enumerate(parts):
        local = heads.local_norms[index](deform(heads.local[index], heads.norms[index](part), steering))
        values = heads.value[index](local.flatten(2).transpose(1, 2))
        replayed = (outputs.affinities @ values).transpose(1, 2).unflatten(2, (height, width))
        torch.testing.assert_close(heads.classifiers[index](replayed), outputs.auxiliary_logits[index])
    assert model.eval()(pixels).affinities is None
    with pytest.raises(ValueError, match="heads of VCR"):
        tiny_model(use_vcr=False)(pixels, output_affinities=True)
