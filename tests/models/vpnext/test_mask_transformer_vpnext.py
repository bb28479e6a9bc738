# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The mask decoder of the paper's baselines: torch's own layer, order of classes, the contract, its cost."""

import pytest
import torch
from torch import nn

from contract import ModelContract, peaked
from hfseg import VPNeXtConfig, VPNeXtForSemanticSegmentation
from hfseg.models.vpnext.mask_transformer_vpnext import VPNeXtMaskTransformer, VPNeXtMaskTransformerLayer
from vpnext_models import tiny_config

FIELDS = {"decoder_type": "mask_transformer", "mask_transformer_channels": 64, "use_vitup": False, "use_vcr": False}


class TestMaskTransformer(ModelContract):
    model_class = VPNeXtForSemanticSegmentation
    auto_classes = ("AutoModelForSemanticSegmentation",)
    recorded = {"hidden_states": 4, "attentions": 3}
    zero_gradients = (".k_proj.bias", "query_key_value.bias")

    def config(self):
        return tiny_config(**FIELDS)

    def labels(self, batch_size, height, width, empty=False):
        labels = torch.randint(0, 5, (batch_size, height, width), generator=torch.Generator().manual_seed(2))
        return {"labels": torch.full_like(labels, 255) if empty else labels}

    def shapes(self, batch_size, height, width):
        return {"logits": (batch_size, 5, -(-height // 8), -(-width // 8))}

    def fresh(self):
        return {
            "classifier.projection.weight": 0.02,
            "classifier.classes": 0.02,
            "classifier.layers.*.query_key_value.weight": 0.02,
            "classifier.layers.*.attention_output.weight": 0.02,
            "classifier.layers.*.mlp.?.weight": 0.02,
            "classifier.pixel_projection.weight": 64**-0.5,
            "classifier.class_projection.weight": 64**-0.5,
            "classifier*.bias": 0.0,
            "*norm*.weight": 1.0,
            "*norm*.bias": 0.0,
        }


def test_a_layer_is_torchs_own():
    torch.manual_seed(0)
    ours = VPNeXtMaskTransformerLayer(128)
    theirs = nn.TransformerEncoderLayer(128, 2, 512, 0.0, "gelu", 1e-6, batch_first=True, norm_first=True)
    names = {
        "attention_norm": "norm1", "mlp_norm": "norm2", "attention_output": "self_attn.out_proj",
        "mlp.0": "linear1", "mlp.2": "linear2",
    }  # fmt: skip
    state = {
        f"{other}.{part}": getattr(ours.get_submodule(own), part).detach()
        for own, other in names.items()
        for part in ("weight", "bias")
    }
    state |= {f"self_attn.in_proj_{part}": getattr(ours.query_key_value, part) for part in ("weight", "bias")}
    theirs.load_state_dict(state)
    tokens = torch.randn(2, 7, 128)
    torch.testing.assert_close(ours(tokens), theirs.train()(tokens), atol=1e-5, rtol=1e-5)


def test_classes_are_tokens():
    """Exchanging two classes' tokens exchanges their logits, and each pixel's logits are normalized."""
    torch.manual_seed(0)
    decoder = peaked(VPNeXtMaskTransformer(tiny_config(**FIELDS), 32)).eval()
    context = torch.randn(2, 32, 3, 5)
    nn.init.normal_(decoder.classes)
    logits = decoder(context)
    assert logits.shape == (2, 5, 3, 5)
    order = [3, 1, 2, 0, 4]
    decoder.classes.data, norm = decoder.classes.data[order], decoder.logit_norm
    norm.weight.data, norm.bias.data = norm.weight.data[order], norm.bias.data[order]
    torch.testing.assert_close(decoder(context), logits[:, order], atol=1e-5, rtol=1e-5)
    plain = (logits[:, order] - norm.bias[:, None, None]) / norm.weight[:, None, None]
    torch.testing.assert_close(plain.mean(1), torch.zeros(2, 3, 5), atol=1e-4, rtol=0)


@torch.no_grad()
def test_logits_are_normalized_cosines():
    torch.manual_seed(0)
    decoder = peaked(VPNeXtMaskTransformer(tiny_config(**FIELDS), 32)).eval()
    nn.init.normal_(decoder.classes, std=3)
    projected = {}
    for name in ("pixel_projection", "class_projection"):
        decoder.get_submodule(name).register_forward_hook(lambda _, __, out, name=name: projected.update({name: out}))
    logits = decoder(torch.randn(2, 32, 3, 5))
    pixels, classes = projected["pixel_projection"], projected["class_projection"]  # (B, 15, D), (B, 5, D)
    lengths = classes.norm(dim=-1)
    assert (lengths.max() / lengths.min()) > 1.05  # else cosines would be products
    cosines = nn.functional.cosine_similarity(pixels[:, :, None], classes[:, None], dim=-1)
    expected = decoder.logit_norm(cosines).transpose(1, 2).unflatten(2, (3, 5))
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"use_vitup": True}, "use_vitup=False"),
        ({"mask_transformer_channels": 100}, "multiple of 64"),
        ({"decoder_type": "crf"}, "linear, mask_transformer"),
    ],
)
def test_what_cannot_be_built(fields, message):
    with pytest.raises(Exception, match=message):
        tiny_config(**{**FIELDS, **fields})


def test_folders_with_the_fields_old_name_are_read(tmp_path):
    """transformers takes a field `decoder` for a configuration, and sets fields of it."""
    tiny_config(**FIELDS).save_pretrained(tmp_path)
    text = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(text.replace('"decoder_type"', '"decoder"'))
    config = VPNeXtConfig.from_pretrained(tmp_path)
    assert config.decoder_type == "mask_transformer" and not hasattr(config, "decoder")
