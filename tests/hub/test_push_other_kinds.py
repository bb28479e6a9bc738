# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Publishing models that are more than a network and an image processor: pipelines, and every architecture once."""

import json
import shutil

import pytest
import torch

from hfseg import LavinDiTPipeline, LavinDiTScheduler, LavinDiTTransformer3DModel, PixelAutoencoder
from hfseg.hub.checks import folder_problems, loading_problems
from hfseg.hub.publishing import MAX_SHARD_SIZE, PublishingError, make_plan, stage, upload
from hub_stand_in import CARD, in_new_process
from lavin_dit_models import TINY, drawn
from test_model_cards import STAND_INS
from tiny_zoo import model_folder


@pytest.fixture
def lavin(tmp_path):
    torch.manual_seed(0)
    vae = PixelAutoencoder(2, sample_height=32, sample_width=32)
    folder = tmp_path / "lavin"
    LavinDiTPipeline(drawn(LavinDiTTransformer3DModel(**TINY)).eval(), vae, LavinDiTScheduler()).save_pretrained(folder)
    (folder / "README.md").write_text(CARD.replace("transformers", "diffusers"))
    return folder


def test_pipeline_is_a_diffusers_repository(lavin, hub, online, tmp_path):
    """`DiffusionPipeline.from_pretrained("me/lavin", trust_remote_code=True)` from the Hub, without `import hfseg`.

    It looks for the code of components in the repository only, which a saved folder does not have.
    """
    stage(lavin, tmp_path / "dry")
    assert folder_problems(tmp_path / "dry", MAX_SHARD_SIZE) == []
    index = json.loads((tmp_path / "dry" / "model_index.json").read_text())
    assert index["_class_name"] == ["pipeline", "LavinDiTPipeline"]
    assert index["transformer"] == ["modeling_hfseg", "LavinDiTTransformer3DModel"]
    upload(tmp_path / "dry", make_plan(tmp_path / "dry", "me/lavin", "Upload", None, False), hub.token, hub.url)
    code = (
        "from diffusers import DiffusionPipeline\n"
        "pipe = DiffusionPipeline.from_pretrained('me/lavin', trust_remote_code=True)\n"
        "print(type(pipe).__name__, type(pipe.vae).__name__)"
    )
    done = in_new_process(["-c", code], hub, tmp_path / "home")
    assert "LavinDiTPipeline PixelAutoencoder" in done.stdout, done.stderr[-2000:]
    again = LavinDiTPipeline.from_pretrained(tmp_path / "dry")  # with the package, no trust is needed
    expected = LavinDiTPipeline.from_pretrained(lavin)
    pairs = zip(again.transformer.parameters(), expected.transformer.parameters())
    assert all(torch.equal(first, second) for first, second in pairs)
    again.save_pretrained(tmp_path / "again")
    assert LavinDiTPipeline.from_pretrained(tmp_path / "again").transformer.config.num_layers == TINY["num_layers"]


def test_incomplete_pipelines(lavin, tmp_path):
    stage(lavin, tmp_path / "dry")
    shutil.rmtree(tmp_path / "dry" / "scheduler")
    (tmp_path / "dry" / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    (tmp_path / "dry" / "transformer" / "modeling_hfseg.py").unlink()
    problems = " ".join(folder_problems(tmp_path / "dry", MAX_SHARD_SIZE))
    assert "component scheduler" in problems and "vae/diffusion_pytorch_model" in problems
    assert "modeling_hfseg.py is missing" in problems
    torch.save({}, lavin / "vae" / "diffusion_pytorch_model.bin")
    with pytest.raises(PublishingError, match=r"vae/diffusion_pytorch_model\.bin"):
        stage(lavin, tmp_path / "other")


def test_code_of_components_is_beside_them(lavin, tmp_path):
    stage(lavin, tmp_path / "dry")
    file = tmp_path / "dry" / "model_index.json"
    index = json.loads(file.read_text())
    index["vae"] = ["hfseg.models.lavin_dit.vae_lavin_dit", "PixelAutoencoder"]
    file.write_text(json.dumps(index))
    (problem,) = folder_problems(tmp_path / "dry", MAX_SHARD_SIZE)
    assert "vae is in hfseg.models" in problem and "DiffusionPipeline cannot look" in problem


def test_models_of_words_need_processor_and_tokenizer(tmp_path):
    folder = model_folder("cris", tmp_path)
    (folder / "README.md").write_text(CARD)
    stage(folder, tmp_path / "dry")
    assert folder_problems(tmp_path / "dry", MAX_SHARD_SIZE) == []
    (tmp_path / "dry" / "tokenizer_config.json").unlink()
    assert "tokenizer_config.json is missing" in " ".join(folder_problems(tmp_path / "dry", MAX_SHARD_SIZE))
    (tmp_path / "dry" / "processor_config.json").unlink()
    problems = " ".join(folder_problems(tmp_path / "dry", MAX_SHARD_SIZE))
    assert "processor_config.json is missing: save the processor (image processor and tokenizer)" in problems


def test_every_architecture_can_be_published(tmp_path):
    """The stand-in of every architecture's cards: complete, and it loads in one new process, by trust alone."""
    folders = []
    for model_type, make in STAND_INS.items():
        source, target = tmp_path / model_type, tmp_path / "dry" / model_type
        make(model_type, source)
        is_pipeline = (source / "model_index.json").is_file()
        (source / "README.md").write_text(CARD.replace("transformers", "diffusers") if is_pipeline else CARD)
        stage(source, target)
        assert folder_problems(target, MAX_SHARD_SIZE) == [], model_type
        folders.append(target)
    assert loading_problems(*folders) == []
