# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""CRIS: the common contract, the authors' numbers, many expressions per image, variants, CLIP's weights."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F

from contract import ModelContract, assert_same, kaiming, peaked, xavier
from cris_models import small_case, tiny_config
from golden import Case
from hfseg import CrisForReferringImageSegmentation, CrisModel
from hfseg.commands.convert import main as convert_command
from hfseg.models.cris.convert_cris import convert_state_dict
from hfseg.pipelines.auto_models import AutoModelForReferringImageSegmentation


def expressions(count: int, length: int = 9) -> torch.Tensor:
    """Draws token ids with start, end and padding; the second half of them short."""
    ids = torch.randint(1, 97, (count, length), generator=torch.Generator().manual_seed(4))
    ids[:, 0], ids[:, -1] = 97, 98
    ids[count // 2 :, 5], ids[count // 2 :, 6:] = 98, 0
    return ids


class TestCrisModel(ModelContract):
    model_class = CrisModel
    auto_classes = ("AutoModel",)
    recorded = {"hidden_states": 3, "attentions": 2, "cross_attentions": 2}
    odd_size = (32, 160)  # the image tower needs multiples of 32
    zero_gradients = (".k_proj.bias",)
    library = ("*text_model*",)
    not_applicable = dict.fromkeys(
        ("test_compiles_to_one_graph", "test_exports_with_dynamic_shapes"),
        "the test of the head runs the whole of this model; twice would only cost time",
    )

    def config(self):
        return tiny_config()

    def inputs(self, batch_size, height, width):
        return super().inputs(batch_size, height, width) | {"input_ids": expressions(batch_size)}

    def labels(self, batch_size, height, width, empty=False):
        return {}

    def shapes(self, batch_size, height, width):
        return {
            "pixel_features": (batch_size, height // 16, width // 16, 32),
            "sentence_embedding": (batch_size, 24),
            "word_features": (batch_size, 9, 32),
        }

    def fresh(self):
        # torch's defaults, but CLIP's own for its attention pool and for the last norm of a bottleneck; torch's
        # attention draws queries, keys and values as one (3C, C) matrix.
        torch_default = partial(kaiming, gain=3**-0.5)
        return {
            "*attention_pool.positional_embedding": 256**-0.5,
            "*attention_pool.?_proj.weight": 256**-0.5,
            "*attention_pool.?_proj.bias": 3**-0.5 * 256**-0.5,
            "*conv3_1x1.bn.weight": 0.0,
            "*_attn.[qkv]_proj.weight": partial(xavier, gain=0.5**0.5),
            "*_attn.*_proj.bias": 0.0,
            "*norm*.weight": 1.0,
            "*norm*.bias": 0.0,
            "*.bn.weight": 1.0,
            "*.bn.bias": 0.0,
            "*connect.1.weight": 1.0,
            "*connect.1.bias": 0.0,
            "*neck.*.1.weight": 1.0,
            "*neck.*.1.bias": 0.0,
            "*fc1.bias": 3**-0.5 * 32**-0.5,
            "*fc2.bias": 3**-0.5 * 48**-0.5,
            "*.weight": torch_default,
        }


class TestCrisForReferringImageSegmentation(TestCrisModel):
    model_class = CrisForReferringImageSegmentation
    auto_classes = ("AutoModelForReferringImageSegmentation",)
    not_applicable = {
        "test_exports_with_dynamic_shapes": "sides are multiples of 32, which test_exports_for_multiples_of_32 says"
    }

    def labels(self, batch_size, height, width, empty=False):
        masks = torch.zeros(batch_size, height, width)
        if not empty:
            masks[:, : height // 2, width // 4 :] = 1
        return {"mask_labels": masks}

    def shapes(self, batch_size, height, width):
        return {"logits": (batch_size, 1, height // 4, width // 4)}

    def fresh(self):
        return {
            "*embed.bias": 3**-0.5 * 16**-0.5,
            "*text_kernel.bias": 3**-0.5 * 24**-0.5,
            **super().fresh(),
        }


def test_exports_for_multiples_of_32():
    """One program serves any number of images and expressions, and any size that the image tower takes."""
    torch.manual_seed(0)
    model = peaked(CrisForReferringImageSegmentation(tiny_config(num_decoder_layers=1))).eval()

    def example(batch: int, count: int, height: int, width: int) -> dict[str, torch.Tensor]:
        ids = expressions(batch * count).unflatten(0, (batch, count))
        return {"pixel_values": torch.randn(batch, 3, height, width), "input_ids": ids}

    dim, batch = torch.export.Dim, torch.export.Dim("batch", min=1, max=64)
    shapes = {
        "pixel_values": {0: batch, 2: 32 * dim("rows", min=2, max=64), 3: 32 * dim("columns", min=2, max=64)},
        "input_ids": {0: batch, 1: dim("expressions", min=1, max=64)},
    }
    program = torch.export.export(model, (), example(2, 3, 64, 96), dynamic_shapes=shapes).module()
    for size in ((2, 3, 64, 96), (3, 1, 128, 64), (1, 5, 96, 96)):
        inputs = example(*size)
        with torch.no_grad():
            assert_same(program(**inputs), model(**inputs), 1e-4, 1e-4)


# The authors' numbers.


@pytest.fixture(scope="module")
def case():
    """Vectors of the authors' modules, in evaluation and in training mode; see `fixtures/cris/README.md`."""
    return small_case()


@pytest.fixture(scope="module")
def converted(case: Case, tmp_path_factory):
    """Goes the public way: checkpoint with `module.` prefixes, command, folder, Auto class."""
    folder = tmp_path_factory.mktemp("cris")
    weights = {name: value.clone() for name, value in case.weights.items()}
    assert all(name.startswith("module.") for name in weights)
    torch.save({"epoch": 3, "best_iou": 0.5, "state_dict": weights}, folder / "best_model.pth")
    arguments = ["--architecture", "cris", "--checkpoint", str(folder / "best_model.pth")]
    arguments += ["--config", str(case.config_file), "--output_dir", str(folder / "model")]
    assert convert_command(arguments) == 0
    model, info = AutoModelForReferringImageSegmentation.from_pretrained(folder / "model", output_loading_info=True)
    assert not (info["missing_keys"] or info["unexpected_keys"] or info["mismatched_keys"])
    return model


def test_outputs_are_the_authors(case, converted):
    with torch.no_grad():
        outputs = converted.eval()(case.inputs["image"], case.inputs["word"])
        inner = converted.model(case.inputs["image"], case.inputs["word"])
    torch.testing.assert_close(outputs.logits, case.outputs["logits"], atol=2e-4, rtol=0)
    torch.testing.assert_close(inner.word_features, case.outputs["word_features"], atol=2e-4, rtol=0)
    torch.testing.assert_close(inner.sentence_embedding, case.outputs["state"], atol=2e-4, rtol=0)
    decoded = case.outputs["decoder_out_b_c_hw"].transpose(1, 2)
    torch.testing.assert_close(inner.pixel_features.flatten(1, 2), decoded, atol=2e-4, rtol=0)


def test_intermediate_maps_are_the_authors(case, converted):
    model = converted.model.eval()
    with torch.no_grad():
        c3, c4, c5 = model.vision_model(case.inputs["image"])
        fused = model.neck(model.neck.describe_image(c3, c4, c5), case.outputs["state"])
    for name, value in (("c3", c3), ("c4", c4), ("c5", c5), ("neck_out", fused)):
        torch.testing.assert_close(value, case.outputs[name], atol=2e-4, rtol=0)


def test_training_is_the_authors(case, converted):
    before = {name: value.clone() for name, value in converted.state_dict().items()}
    batch = {"pixel_values": case.inputs["image"], "input_ids": case.inputs["word"], "mask_labels": case.inputs["mask"]}
    # oneDNN sums in an order of its own on some processors: a value at a ReLU's zero then falls to the other side, and
    # gradients differ by up to 2 %.
    with torch.backends.mkldnn.flags(enabled=False):
        outputs = converted.train()(**batch)
        outputs.loss.backward()
    torch.testing.assert_close(outputs.logits.detach(), case.outputs["train_logits"], atol=1e-3, rtol=0)
    torch.testing.assert_close(outputs.loss.detach(), case.outputs["loss"].reshape(()), atol=1e-5, rtol=0)
    gradients = convert_gradients(converted, case)
    compared = 0
    for name, expected in case.outputs.items():
        if name.startswith("gradnorm.") and expected >= 0:
            norm = gradients[name.removeprefix("gradnorm.")].norm()
            torch.testing.assert_close(norm, expected.reshape(()), rtol=1e-3, atol=1e-6, msg=name)
            compared += 1
    assert compared == sum(name.startswith("gradnorm.") for name in case.outputs) - 1  # CLIP's unused temperature
    after = convert_buffers(converted)
    for name, expected in case.outputs.items():
        if name.startswith("buffer_after."):
            torch.testing.assert_close(after[name.removeprefix("buffer_after.")], expected, rtol=1e-4, atol=1e-5)

    converted.load_state_dict(before)
    slow, fast = [], []
    for name, parameter in converted.named_parameters():
        tower = "vision_model" in name or "text_model" in name
        (slow if tower and "position" not in name else fast).append(parameter)
    optimizer = torch.optim.Adam([{"params": slow, "lr": 1e-5}, {"params": fast, "lr": 1e-4}])
    losses = []
    for _ in range(4):
        loss = converted(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    converted.load_state_dict(before)
    torch.testing.assert_close(torch.tensor(losses), case.outputs["adam_losses"].float(), rtol=5e-3, atol=0)


def official_names(case: Case) -> dict[str, list[str]]:
    """Maps official names to ours, in order of the parts."""
    marked = {
        name.removeprefix("module."): torch.full_like(value, float(index))
        if value.dim()
        else torch.tensor(float(index))
        for index, (name, value) in enumerate(case.weights.items())
    }
    order = [name.removeprefix("module.") for name in case.weights]
    names: dict[str, list[str]] = {}
    for native, value in convert_state_dict(marked).items():
        names.setdefault(order[int(value.flatten()[0])], []).append(native)
    return names


def convert_gradients(model, case: Case) -> dict[str, torch.Tensor]:
    """Gives gradients under official names; joint projections are put together again."""
    parameters = dict(model.named_parameters())
    return {
        official: torch.cat([parameters[name].grad.flatten() for name in names])
        for official, names in official_names(case).items()
        if names[0] in parameters
    }


def convert_buffers(model) -> dict[str, torch.Tensor]:
    """Gives the batch statistics that the case names, under official names."""
    ours = {
        "backbone.visual.attnpool.connect.1": "model.vision_model.attention_pool.connect.1",
        "backbone.visual.bn1": "model.vision_model.backbone.stem_conv1.bn",
        "neck.txt_proj.1": "model.neck.text_projection.1",
        "proj.vis.3.1": "projector.norm_2",
    }
    buffers = dict(model.named_buffers())
    return {f"{a}.{n}": buffers[f"{b}.{n}"] for a, b in ours.items() for n in ("running_mean", "running_var")}


# Many expressions per image.


def test_expressions_share_a_image():
    """K expressions at once give what each gives alone; the image tower runs once."""
    torch.manual_seed(0)
    model, calls = peaked(CrisForReferringImageSegmentation(tiny_config())).eval(), []
    model.model.vision_model.register_forward_hook(lambda *_: calls.append(1))
    pixel_values = torch.randn(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    ids = expressions(6).unflatten(0, (2, 3))
    with torch.no_grad():
        together = model(pixel_values, ids).logits
        assert together.shape == (2, 3, 16, 24) and len(calls) == 1
        features = model.encode_image(pixel_values)
        for k in range(3):
            alone = model(pixel_values, ids[:, k]).logits
            assert_same(together[:, k : k + 1], alone, 1e-4, 1e-4)
            assert_same(model(input_ids=ids[:, k], image_features=features).logits, alone)
        assert (together[:, 0] - together[:, 1]).abs().max() > 1e-2


def test_words_beyond_the_end_do_not_matter():
    torch.manual_seed(0)
    model = peaked(CrisForReferringImageSegmentation(tiny_config())).eval()
    pixel_values, ids = torch.randn(1, 3, 64, 64), torch.tensor([[97, 5, 8, 98]])
    with torch.no_grad():
        short, long = model(pixel_values, ids), model(pixel_values, F.pad(ids, (0, 5)))
    assert_same(long.logits, short.logits, 1e-5, 1e-5)


# Variants.


@pytest.mark.parametrize("use_decoder", [False, True])
@pytest.mark.parametrize("use_text_to_pixel", [False, True])
def test_variants_train(use_decoder, use_text_to_pixel):
    config = tiny_config(use_decoder=use_decoder, use_text_to_pixel=use_text_to_pixel)
    model = CrisForReferringImageSegmentation(config).train()
    ids = expressions(4).unflatten(0, (2, 2))
    outputs = model(torch.randn(2, 3, 64, 64), ids, torch.rand(2, 2, 64, 64))
    outputs.loss.backward()
    without = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not without
    assert (model.model.decoder is not None) == use_decoder
    assert hasattr(model.projector, "text_kernel") == use_text_to_pixel


def test_illegal_inputs():
    model = CrisForReferringImageSegmentation(tiny_config()).eval()
    with pytest.raises(ValueError, match="80 x 96 pixels; both sides must be multiples of 32"):
        model(torch.zeros(1, 3, 80, 96), expressions(1))
    with pytest.raises(ValueError, match="input_ids"):
        model(torch.zeros(1, 3, 64, 64))
    with pytest.raises(ValueError, match="for 1 image"):
        model(torch.zeros(1, 3, 64, 64), expressions(2))
    with pytest.raises(ValueError, match="mask_labels has the shape"):
        model(torch.zeros(1, 3, 64, 64), expressions(1), torch.zeros(1, 2, 64, 64))


# CLIP's weights.
