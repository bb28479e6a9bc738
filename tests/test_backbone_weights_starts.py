# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What `docs/starting_weights.md` promises: folders of other models, saved here with random weights, start ours."""

import dataclasses
import json
import logging
import re
import shlex
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import CONFIG_MAPPING

import hfseg
from cris_models import clip_archive, small_case
from golden import read_case
from hfseg.backbone_weights import PACKAGED, network_of, packaged_is_installed
from hfseg.commands.main import main
from hfseg.models.lavin_dit.training_lavin_dit import build_autoencoder
from hfseg.training.arguments import ModelArguments, load_recipe
from hfseg.training.tasks import build_task
from hfseg.training.tasks.base import build_model
from test_backbone_weights import RESNET, SMALL, SWIN, randomize

PAGE = Path(__file__).parents[1] / "docs" / "starting_weights.md"
SIZES = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 2}
VIT = {**SIZES, "intermediate_size": 64, "image_size": 64, "patch_size": 16}
DINOV2 = {**SIZES, "mlp_ratio": 2, "image_size": 64, "patch_size": 16}
# Folder -> class that saves it, model type, sizes.
TRANSFORMERS = {
    "vit": ("ViTModel", "vit", VIT),
    "vit classifier": ("ViTForImageClassification", "vit", VIT),
    "dinov2": ("Dinov2Model", "dinov2", DINOV2),
    "dinov2 classifier": ("Dinov2ForImageClassification", "dinov2", DINOV2),
    "dinov2 with registers": ("Dinov2WithRegistersModel", "dinov2_with_registers", DINOV2),
    "dinov3": ("DINOv3ViTModel", "dinov3_vit", {**VIT, "num_register_tokens": 4}),
    "beit": ("BeitModel", "beit", VIT),
}
HEADS = {
    "meddensevit": {"feature_size": 32, "stem_sizes": [8, 8]},
    "vpnext": {"hiclr_iterations": 1, "hiclr_channels": 16, "hiclr_context_channels": 16, "vcr_affinity_dim": 16},
}


def saved(kind: str, folder: Path):
    """Saves a random model; returns it."""
    name, model_type, sizes = TRANSFORMERS[kind]
    model = randomize(getattr(transformers, name)(CONFIG_MAPPING[model_type](**sizes)))
    model.save_pretrained(folder)
    return model


def started(architecture: str, folder: Path, **fields):
    arguments = ModelArguments(architecture, {**HEADS[architecture], **fields}, backbone=str(folder))
    return build_model(arguments, {0: "a", 1: "b"}, auto_class="AutoModelForSemanticSegmentation").eval()


@pytest.mark.parametrize("architecture", HEADS)
@pytest.mark.parametrize("kind", TRANSFORMERS)
def test_plain_vision_transformers(architecture, kind, tmp_path, caplog):
    """Every tensor of the backbone comes from the folder, and its last map is the source's last hidden state."""
    source = saved(kind, tmp_path)
    with caplog.at_level(logging.WARNING):
        model = started(architecture, tmp_path, backbone_config="folder")
    backbone = model.base_model.backbone
    stored = list(load_file(tmp_path / "model.safetensors").values())
    new = [
        name
        for name, value in backbone.state_dict().items()
        if not any(value.shape == other.shape and torch.equal(value, other) for other in stored)
    ]
    plain = kind.startswith("vit")  # a ViT has neither layer scales nor a token for hidden patches
    assert all(plain and ("layer_scale" in name or "mask_token" in name) for name in new)
    said = f"{len(backbone.state_dict())} tensors are those of {tmp_path}; the other "
    assert said in caplog.text and "start anew" in caplog.text
    pixels = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        inner = getattr(source, source.base_model_prefix) if "classifier" in kind else source
        outputs, own = inner(pixels, output_hidden_states=True), backbone(pixels).feature_maps[-1]
        own = own.flatten(2).transpose(1, 2)
        # DINOv3's last map is the normalized one, the others' is not.
        last = outputs.last_hidden_state if kind == "dinov3" else outputs.hidden_states[-1]
        torch.testing.assert_close(own, last[:, -16:], rtol=1e-4, atol=1e-4)
        assert torch.isfinite(model(pixel_values=pixels).logits).all()


def test_a_timm_folder_names_its_network(tmp_path):
    timm = pytest.importorskip("timm")
    source = randomize(timm.create_model("test_vit"))
    save_file(source.state_dict(), tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "test_vit", "num_classes": 1000}))
    expected = {"model_type": "timm_backbone", "backbone": "test_vit"}
    assert network_of(str(tmp_path)).items() >= expected.items()
    model = started("vpnext", tmp_path, backbone_config="folder")
    own = model.base_model.backbone._backbone.state_dict()
    for name, value in source.state_dict().items():
        if name.startswith(("blocks.", "patch_embed.", "pos_embed", "cls_token")):
            assert any(key.endswith(name) and torch.equal(own[key], value) for key in own), name


@pytest.mark.parametrize("fields", [SWIN, RESNET], ids=["swin", "resnet"])
def test_pyramids_for_proscale(fields, tmp_path):
    """The whole classifier's folder, as on the Hub, not a backbone's."""
    kind = fields["model_type"]
    name = {"swin": "SwinForImageClassification", "resnet": "ResNetForImageClassification"}[kind]
    sizes = {key: value for key, value in fields.items() if key not in ("model_type", "out_features")}
    source = randomize(getattr(transformers, name)(CONFIG_MAPPING[kind](**sizes)))
    source.save_pretrained(tmp_path)
    arguments = ModelArguments("proscale", {**SMALL, "backbone_config": "folder"}, backbone=str(tmp_path))
    model = build_model(arguments, {0: "thing"}).eval()
    pixels = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        if kind == "resnet":
            hidden = source.resnet(pixels, output_hidden_states=True).hidden_states[1:]
            for features, expected in zip(model.model.backbone(pixels).feature_maps, hidden, strict=True):
                torch.testing.assert_close(features, expected)
    stored = list(load_file(tmp_path / "model.safetensors").values())
    own = {k: v for k, v in model.model.backbone.state_dict().items() if "hidden_states_norms" not in k}
    assert all(any(v.shape == o.shape and torch.equal(v, o) for o in stored) for v in own.values())


@pytest.mark.parametrize("kind", ["vit classifier", "dinov2", "dinov3", "beit"])
def test_plain_vision_transformers_for_proscale(kind, tmp_path):
    """With a pyramid over the folder's ViT, of whose taps the last one is taken."""
    source = saved(kind, tmp_path)
    fields = {**SMALL, "backbone_config": "folder", "backbone_pyramid": "simple"}
    model = build_model(ModelArguments("proscale", fields, backbone=str(tmp_path)), {0: "thing"}).eval()
    pixels = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        inner = getattr(source, source.base_model_prefix) if "classifier" in kind else source
        outputs = inner(pixels, output_hidden_states=True)
        last = outputs.last_hidden_state if kind == "dinov3" else outputs.hidden_states[-1]
        tokens = last[:, -16:].transpose(1, 2).unflatten(2, (4, 4))
        expected = model.model.pyramid(tokens, (64, 64))
        for actual, other in zip(model.model.feature_maps(pixels), expected, strict=True):
            torch.testing.assert_close(actual, other, rtol=1e-3, atol=1e-4)
    with pytest.raises(ValueError, match='backbone_pyramid="simple"'):
        build_model(ModelArguments("proscale", {**SMALL, "backbone_config": "folder"}, backbone=str(tmp_path)))


SWINS = {"image_size": 32, "patch_size": 4, "embed_dim": 16, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 4, 8]}
TINY = {
    "decoder_widths": [16, 16, 32, 32],
    "feature_size": 32,
    "mask_feature_size": 32,
    "hidden_size": 32,
    "num_attention_heads": 4,
    "dim_feedforward": 32,
    "decoder_layers": 2,
    "num_queries": 5,
}


@pytest.mark.parametrize("version", ["swin", "swinv2"])
def test_swin_and_swin_v2_for_unisegformer(version, tmp_path, caplog):
    kind = {"swin": "SwinForImageClassification", "swinv2": "Swinv2ForImageClassification"}[version]
    source = randomize(getattr(transformers, kind)(CONFIG_MAPPING[version](**SWINS, window_size=4)))
    source.save_pretrained(tmp_path)
    fields = {name: value for name, value in TINY.items() if name in vars(CONFIG_MAPPING["unisegformer"]())}
    arguments = ModelArguments("unisegformer", {**fields, "encoder_config": "folder"}, backbone=str(tmp_path))
    with caplog.at_level(logging.WARNING):
        encoder = build_model(arguments, {0: "thing"}).model.encoder
    stored = [(name, value) for name, value in load_file(tmp_path / "model.safetensors").items()]
    own = encoder.state_dict()
    query = own["encoder.layers.2.blocks.0.attention.self.query.weight"]
    (found,) = [name for name, value in stored if value.shape == query.shape and torch.equal(value, query)]
    assert "layers.2.blocks.0" in found and "query" in found
    taken = [k for k, v in own.items() if any(v.shape == o.shape and torch.equal(v, o) for _, o in stored)]
    assert any("intermediate.dense" in name for name in taken)
    if version == "swinv2":
        assert any("layernorm_before" in name for name in taken) and any("logit_scale" in name for name in taken)
    else:  # norms stand elsewhere, biases are tables
        assert not any("layernorm" in name or "continuous" in name for name in taken)
    assert f"those of {tmp_path}; the other" in caplog.text
    wrong = {**TINY, "encoder_config": {**SWINS, "embed_dim": 32}}
    fields = {name: value for name, value in wrong.items() if name in vars(CONFIG_MAPPING["unisegformer"]())}
    with pytest.raises(ValueError, match="differs from encoder_config"):
        build_model(ModelArguments("unisegformer", fields, backbone=str(tmp_path)), {0: "thing"})


def test_folders_that_start_nothing(tmp_path):
    with pytest.raises(ValueError, match=r"backbone_config is 'folder'; model\.backbone must"):
        build_model(ModelArguments("proscale", {**SMALL, "backbone_config": "folder"}), {0: "thing"})
    with pytest.raises(ValueError, match=r"has no config\.json of a model"):
        network_of(str(tmp_path))
    transformers.CLIPConfig().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="'clip', which transformers has no backbone class for"):
        network_of(str(tmp_path))
    with pytest.raises(ValueError, match="a 'clip'; this encoder starts from a Swin"):
        network_of(str(tmp_path), encoder=True)


# ---------------------------------------------------------------------------------------------------------------- CRIS

CRIS = {"neck_sizes": (16, 64, 32), "num_decoder_layers": 1, "num_attention_heads": 4, "dim_feedforward": 32}
WORDS = ["the", "red", "blue", "star", "circle"]


def referring(folder: Path, **fields):
    """Model and processor, as `hfseg train` builds them."""
    arguments = load_recipe("cris-tiny-shapes").stage_arguments()[0][1]
    arguments.model.config = {**CRIS, **fields}
    arguments.model.backbone = str(folder)
    task = build_task(arguments)
    model = task.build_model(None)
    return model, task.build_processor(model)


def test_a_clip_of_transformers_gives_text_tower_and_tokenizer(tmp_path, caplog):
    tokenizer = hfseg.CrisProcessor.from_words(WORDS).tokenizer
    size = len(tokenizer)
    text = {"vocab_size": size, "bos_token_id": size - 2, "eos_token_id": size - 1, "max_position_embeddings": 17}
    text |= {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 2}
    vision = {**VIT, "patch_size": 32}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=24)
    source = randomize(transformers.CLIPModel(config))
    source.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    image = {"vision_layers": (1, 1, 1, 1), "vision_width": 8, "image_size": 64, "neck_sizes": (16, 32, 32)}
    model, processor = referring(tmp_path, **image)
    assert isinstance(processor, hfseg.CrisProcessor) and len(processor.tokenizer) == size
    own = model.model.text_model.state_dict()
    stored = source.state_dict()
    assert torch.equal(own["text_projection.weight"], stored["text_projection.weight"])
    assert all(torch.equal(own[name], stored[name]) for name in own if name.startswith("text_model."))
    assert "gives its text tower and tokenizer; the image tower, a ResNet here, starts anew" in caplog.text
    ids = processor(text=["the red star"], return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logits = model.eval()(pixel_values=torch.rand(1, 3, 64, 64), input_ids=ids).logits
    assert torch.isfinite(logits).all()


def test_an_open_clip_folder_gives_both_towers(tmp_path):
    beside = ("input_resolution", "context_length", "vocab_size")  # of OpenAI's archive
    weights = {name: value for name, value in clip_archive(small_case()).items() if name not in beside}
    save_file({name: value.contiguous() for name, value in weights.items()}, tmp_path / "open_clip_model.safetensors")
    (tmp_path / "open_clip_config.json").write_text("{}")
    model = hfseg.CrisForReferringImageSegmentation.from_clip(str(tmp_path), **CRIS)
    pool = model.model.vision_model.attention_pool
    assert torch.equal(pool.q_proj.weight, weights["visual.attnpool.q_proj.weight"].float())
    assert torch.equal(model.model.text_model.text_projection.weight, weights["text_projection"].float().T)
    (tmp_path / "open_clip_model.safetensors").unlink()
    with pytest.raises(ValueError, match="holds no CLIP"):
        hfseg.CrisForReferringImageSegmentation.from_clip(str(tmp_path))


def test_timms_folder_gives_the_image_tower(tmp_path, caplog):
    pytest.importorskip("timm")
    from timm.models import byobnet

    published = byobnet.model_cfgs["resnet50_clip"]
    blocks = tuple(dataclasses.replace(block, d=1, c=64 * 2**stage) for stage, block in enumerate(published.blocks))
    small = dataclasses.replace(published, blocks=blocks, stem_chs=(8, 8, 16))
    source = randomize(byobnet.ByobNet(small, num_classes=24, img_size=64))
    tensors = source.state_dict()
    save_file({name: value.contiguous() for name, value in tensors.items()}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet50_clip"}))
    fields = {**CRIS, "neck_sizes": (16, 32, 32), "hidden_size": 32}
    fields["text_config"] = {
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    model = hfseg.CrisForReferringImageSegmentation.from_clip(str(tmp_path), **fields)
    assert tuple(model.config.vision_layers) == (1, 1, 1, 1) and model.config.vision_width == 16
    assert model.config.text_config.projection_dim == 24
    own = model.model.vision_model.attention_pool
    assert torch.equal(own.q_proj.weight, tensors["head.q.weight"])
    assert "timm has CLIP's image tower only" in caplog.text


# ------------------------------------------------------------------------------------------------ Unpair-Seg, LaVin-DiT


def test_open_clips_convnext_for_unpairseg(tmp_path):
    case = read_case("unpairseg/open_vocab_parts")
    prefix = "backbone.clip_model."
    weights = {key.removeprefix(prefix): value.contiguous() for key, value in case.weights.items()}
    file = tmp_path / "open_clip_model.safetensors"
    save_file(weights, file)
    (tmp_path / "config.json").write_text(json.dumps(case.config))
    command = ["convert", "--architecture", "unpairseg", "--checkpoint", str(file), "--output_dir", str(tmp_path / "m")]
    assert main([*command, "--config", str(tmp_path / "config.json")]) == 0
    model = hfseg.UnpairSegForOpenVocabularySegmentation.from_pretrained(tmp_path / "m")
    own = model.state_dict()
    assert torch.equal(own["visual_projection.fc1.weight"], weights["visual.head.mlp.fc1.weight"])
    first = "text_model.text_model.embeddings.token_embedding.weight"
    assert torch.equal(own[first], weights["token_embedding.weight"])


@pytest.mark.parametrize("kind", ["vae", "pipeline", "old"])
def test_cogvideox_for_lavin_dit(kind, tmp_path):
    from diffusers import AutoencoderKLCogVideoX

    torch.manual_seed(0)
    sizes = {"block_out_channels": (8, 8, 8, 8), "latent_channels": 4, "layers_per_block": 1, "norm_num_groups": 2}
    source = AutoencoderKLCogVideoX(**sizes, sample_height=32, sample_width=32, scaling_factor=0.7).eval()
    folder = tmp_path / "vae" if kind == "pipeline" else tmp_path
    source.save_pretrained(folder)
    if kind == "old":
        settings = json.loads((folder / "config.json").read_text())
        del settings["shift_factor"]
        (folder / "config.json").write_text(json.dumps(settings))
    vae = build_autoencoder(str(tmp_path)).eval()
    assert isinstance(vae, hfseg.LavinDiTAutoencoderKL)
    assert vae.config.scaling_factor == 0.7 and vae.config.shift_factor is None
    pixels = torch.randn(1, 3, 1, 32, 32)
    with torch.no_grad():
        expected = source.encode(pixels).latent_dist.mean
        assert torch.equal(vae.encode(pixels).latent_dist.mean, expected)
        assert torch.equal(vae.decode(expected).sample, source.decode(expected).sample)


# ---------------------------------------------------------------------------------------------------------------- page


def commands() -> list[list[str]]:
    """The commands of the page, joined where they are broken."""
    blocks = re.findall(r"```bash\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.strip().startswith("hfseg")]


def test_the_commands_of_the_page_are_recipes_and_fields_that_exist():
    found = commands()
    assert len(found) >= 10
    for words in found:
        if words[1] == "train":
            recipe = words[words.index("--recipe") + 1]
            overrides = [word for word in words if re.match(r"^(model|data|run|optimizer)\.[\w.]+=", word)]
            assert overrides, words
            arguments = load_recipe(recipe, overrides)
            backbone = arguments.model.backbone
            if backbone in PACKAGED and packaged_is_installed(backbone):
                task = build_task(arguments)
                build_model(arguments.model, {0: "thing"}, auto_class=task.auto_class)
        else:
            assert words[1] == "convert" and "--checkpoint" in words
