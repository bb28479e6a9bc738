# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""PRO-SCALE's open vocabulary: the common contract, probabilities, what learns, the paper's size."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from transformers import AutoModel
from transformers.utils import ModelOutput

from contract import ModelContract, OneCompiledProgram, assert_same, kaiming, peaked
from hfseg import (
    ProScaleForOpenVocabularySegmentation,
    ProScaleImageProcessor,
    ProScaleModel,
    ProScaleOpenVocabularyConfig,
    ProScaleProposalModel,
)
from models.proscale.test_modeling_proscale import RESNET, TestProScaleModel
from proscale_models import close, tiny_config, tiny_open_vocabulary_config
from slow_tests import slow

BASE = TestProScaleModel
del TestProScaleModel  # its own tests run in its own module


def test_the_folder_as_a_bare_model(tmp_path):
    """`AutoModel` finds the mask model inside: `ProScaleModel` with another configuration."""
    model = learned().eval()
    model.save_pretrained(tmp_path)
    bare = AutoModel.from_pretrained(tmp_path)
    assert type(bare) is ProScaleProposalModel
    plain = ProScaleModel(tiny_config()).eval()
    plain.load_state_dict(bare.state_dict())
    pixels = example()[0]["pixel_values"]
    with torch.no_grad():
        assert_same(bare(pixels), plain(pixels))


class TestProScaleForOpenVocabularySegmentation(OneCompiledProgram, BASE):
    model_class = ProScaleForOpenVocabularySegmentation
    auto_classes = ("AutoModelForOpenVocabularySegmentation",)
    shared_inputs = ("input_ids",)
    not_applicable = {}

    @slow  # exported always; what differs from the classes that are compiled is the text tower
    def test_compiles_once_for_all_sizes(self):
        super().test_compiles_once_for_all_sizes()

    def config(self):
        return tiny_open_vocabulary_config()

    def dynamic_size_config(self):
        # A convolutional backbone: shifted windows of free size are traced with the models that have classes.
        return tiny_open_vocabulary_config(decoder_layers=1, backbone_config=RESNET, relative_attention_interval=2)

    def inputs(self, batch_size, height, width):
        ids = torch.tensor([[62, 5, 63, 63], [62, 7, 9, 63], [62, 1, 63, 63]])
        return {**ModelContract.inputs(self, batch_size, height, width), "input_ids": ids}

    def labels(self, batch_size, height, width, empty=False):
        masks = torch.zeros(batch_size, height, width, dtype=torch.int64)
        if not empty:
            masks[:, : height // 2, : width // 2] = 1
            masks[:, height // 2 :, width // 3 :] = 2
        classes = torch.tensor([1, 2] if not empty else [], dtype=torch.int64)
        return {"mask_labels": list(masks), "class_labels": [classes] * batch_size}

    def shapes(self, batch_size, height, width):
        return {
            "class_queries_logits": (batch_size, 10, 4),
            "masks_queries_logits": (batch_size, 10, 32, 32),
            "input_sizes": (batch_size, 2),
            "object_logits": (batch_size, 10, 2),
            "region_embeds": (batch_size, 10, 20),
        }

    def fresh(self):
        torch_default = partial(kaiming, gain=3**-0.5)
        clip = {
            "text_model.*": None,  # a library's own class
            "logit_scale": 2.6592600,
            "class_predictor.weight": torch_default,
            "class_predictor.bias": None,  # two draws
            # MaskCLIP's added parameters: Kaiming normal by the number of inputs, biases of convolutions in 0..1.
            "*relative.code_norm.weight": 1.0,
            "*relative.code_norm.bias": 0.0,
            "*relative.*.weight": partial(kaiming, gain=2**0.5),
            "*relative.key.bias": 0.0,
            "*relative.*.bias": None,  # uniform in 0..1: the fourth moment is not that of a centered draw
            "mask_class_encoder.visual_projection.weight": 32**-0.5,
            "mask_class_encoder.embeddings.*": None,  # a library's own class
            "mask_class_encoder.layers.*.self_attn.*": None,
            "mask_class_encoder.layers.*.mlp.*": None,
        }
        return {**clip, **super().fresh()}


def learned(**fields):
    torch.manual_seed(0)
    return peaked(ProScaleForOpenVocabularySegmentation(tiny_open_vocabulary_config(**fields)))


def example(batch_size=2):
    contract = TestProScaleForOpenVocabularySegmentation()
    return contract.inputs(batch_size, 64, 96), contract.labels(batch_size, 64, 96)


def test_class_logits_are_logarithms_of_probabilities():
    """Objectness times the softmax of scaled cosines, by hand; the rest is "no object"."""
    model = learned().eval()
    inputs, _ = example()
    with torch.no_grad():
        outputs = model(**inputs)
        texts = F.normalize(model.get_text_features(inputs["input_ids"]), dim=-1)
        cosines = torch.einsum("bqd,vd->bqv", outputs.region_embeds, texts)
        objectness = outputs.object_logits.softmax(-1)
        scale = min(float(model.logit_scale.exp()), 100)
        expected = objectness[..., :1] * (scale * cosines).softmax(-1)
    probabilities = outputs.class_queries_logits.softmax(-1)
    close(probabilities[..., :3], expected, 1e-4, 1e-5)
    close(probabilities[..., 3], objectness[..., 1], 1e-4, 1e-5)
    assert outputs.input_sizes.tolist() == [[64, 96]] * 2
    # Synonyms: the best row of a class counts.
    rows = torch.stack((texts, -texts), dim=1)
    with torch.no_grad():
        again = model(inputs["pixel_values"], text_embeds=rows).class_queries_logits
        best = model(inputs["pixel_values"], text_embeds=rows.flip(1)).class_queries_logits
    torch.testing.assert_close(again, best)
    best_cosines = cosines.abs()
    close(again.softmax(-1)[..., :3], objectness[..., :1] * (scale * best_cosines).softmax(-1), 1e-4, 1e-5)


def test_without_texts_there_are_masks_without_classes():
    inputs, labels = example()
    outputs = learned().eval()(inputs["pixel_values"])
    assert outputs.class_queries_logits is None and outputs.masks_queries_logits.shape == (2, 10, 32, 32)
    with pytest.raises(ValueError, match="need the texts"):
        learned()(inputs["pixel_values"], **labels)
    with pytest.raises(ValueError, match="belong together"):
        learned()(**inputs, mask_labels=labels["mask_labels"])
    wrong = {**labels, "class_labels": [torch.tensor([0, 3])] * 2}
    with pytest.raises(ValueError, match="from 0 to 3"):
        learned()(**inputs, **wrong)


def test_clip_is_normalized_as_it_wants():
    """White and mid-gray of the network's input are white and mid-gray for CLIP."""
    model = ProScaleForOpenVocabularySegmentation(tiny_open_vocabulary_config())
    config = model.config
    for level in (1.0, 0.5, 0.0):
        mean, deviation = torch.tensor(config.image_mean), torch.tensor(config.image_std)
        pixels = ((level - mean) / deviation).view(1, 3, 1, 1).expand(1, 3, 64, 96)
        images = model.clip_images(pixels)
        assert images.shape == (1, 3, 32, 32)
        expected = (level - torch.tensor(config.clip_image_mean)) / torch.tensor(config.clip_image_std)
        close(images, expected.view(1, 3, 1, 1).expand_as(images), 1e-5, 1e-5)


@pytest.mark.parametrize("freeze_proposals", [False, True])
@pytest.mark.parametrize("freeze_clip", [False, True])
def test_what_learns(freeze_proposals, freeze_clip):
    model = learned(freeze_proposals=freeze_proposals, freeze_clip=freeze_clip).train()
    inputs, labels = example()
    outputs = model(**inputs, **labels)
    assert any(name.startswith("proposal_") for name in outputs.loss_dict) != freeze_proposals
    outputs.loss.backward()
    moved = {name for name, p in model.named_parameters() if p.grad is not None and p.grad.any()}
    assert any(".relative." in name for name in moved)
    assert any(name.startswith("model.") for name in moved) != freeze_proposals
    clip = [n for n in moved if n.startswith(("text_model.", "mask_class_encoder.")) and ".relative." not in n]
    assert bool(clip) != freeze_clip
    assert model.model.training != freeze_proposals and model.text_model.training != freeze_clip


def test_nothing_flows_from_names_into_proposals():
    model = learned().train()
    inputs, labels = example()
    terms = model(**inputs, **labels).loss_dict
    sum(value for name, value in terms.items() if not name.startswith("proposal_")).backward()
    assert not [n for n, p in model.model.named_parameters() if p.grad is not None and p.grad.any()]


def test_earlier_masks_are_supervised_as_they_were():
    """The loss of the first refinement is that of a model which stops there."""
    fields = {"freeze_proposals": True, "mask_weight": 0.0, "class_weight": 0.0}
    model = learned(**fields).eval()
    inputs, labels = example()
    outputs = model(**inputs, **labels, output_auxiliary_logits=True)
    assert len(outputs.auxiliary_masks) == 1
    # Dice of sampled points is noisy; masks far from each other give other losses.
    assert outputs.loss_dict["loss_dice_0"] != outputs.loss_dict["loss_dice"]
    assert not torch.allclose(outputs.auxiliary_masks[0], outputs.masks_queries_logits)
    quiet = learned(**fields, use_auxiliary_loss=False).eval()
    assert "loss_dice_0" not in quiet(**inputs, **labels).loss_dict


def test_the_loss_of_parts_is_that_of_the_whole():
    """With a common normalizer two images make what they make together."""
    model = learned(use_auxiliary_loss=False, freeze_proposals=True, train_num_points=4096).eval()
    inputs, labels = example()
    normalizer = model.loss_normalizer({**inputs, **labels})
    assert normalizer[0] == 4
    whole = model(**inputs, **labels, loss_normalizer=normalizer).loss_dict
    parts = [
        model(
            inputs["pixel_values"][i : i + 1],
            inputs["input_ids"],
            loss_normalizer=normalizer,
            **{k: v[i : i + 1] for k, v in labels.items()},
        ).loss_dict
        for i in range(2)
    ]
    close(whole["loss_ce"], parts[0]["loss_ce"] + parts[1]["loss_ce"], 0.05, 1e-3)
    close(whole["loss_dice"], parts[0]["loss_dice"] + parts[1]["loss_dice"], 0.1, 1e-2)


def test_masks_lie_where_the_padded_input_says():
    """The right half of an image of 40 x 60 in an input of 64 x 96, as masks of 32 x 32."""
    processor = ProScaleImageProcessor(size={"shortest_edge": 40, "longest_edge": 60}, overlap_mask_area_threshold=0.0)
    masks = torch.full((1, 1, 32, 32), -8.0)
    masks[..., :20, 10:20] = 8.0  # pixels 0..40, 30..60
    outputs = ModelOutput(
        class_queries_logits=torch.tensor([[[8.0, 0.0]]]),
        masks_queries_logits=masks,
        input_sizes=torch.tensor([[64, 96]]),
    )
    found = processor.post_process_panoptic_segmentation(outputs, target_sizes=[(40, 60)])[0]["segmentation"]
    assert found.shape == (40, 60)
    expected = torch.zeros(40, 60, dtype=torch.bool)
    expected[:, 30:] = True
    assert ((found == 1) != expected).float().mean() < 0.03


def test_parameters_of_the_paper():
    """R50 PRO-SCALE (3,3,3), CLIP ViT-L/14@336, and 4 x 1,458,948 added parameters."""
    with torch.device("meta"):
        model = ProScaleForOpenVocabularySegmentation(ProScaleOpenVocabularyConfig(freeze_batch_norm=True))
    count = lambda module: sum(p.numel() for p in module.parameters())  # noqa: E731
    added = sum(count(part) for part in model.mask_class_encoder.added_modules())
    width, patch = 1024, 14
    one = (patch**2 + 1) * width + 2 * width + (width + 1) * width + (width + 1) * patch**2
    assert added == 4 * one
    assert count(model.mask_class_encoder) - added == 304_293_888
    trained = sum(p.numel() for p in model.model.parameters() if p.requires_grad)
    # The universal model of 133 classes has 45,368,839 with 134 rows of its class predictor.
    assert trained == 45_368_839 - 134 * 257
