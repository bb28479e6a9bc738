# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Objectives of J-DiT and ST-VAE, and runs of both through the one loop."""

import copy
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hfseg import (
    LavinDiTAutoencoderKL,
    LavinDiTPipeline,
    LavinDiTScheduler,
    LavinDiTTransformer3DModel,
    PixelAutoencoder,
)
from hfseg.commands.train import main as train
from hfseg.data.readers.frames import FramesCollator, FramesDataset
from hfseg.data.readers.in_context import InContextCollator, InContextDataset
from hfseg.data.readers.latents import LatentDataset, collate_latents, write_latents
from hfseg.models.lavin_dit.training_lavin_dit import (
    LavinDiTAutoencoderForTraining,
    LavinDiTForTraining,
    measure_latents,
)
from hfseg.training import load_recipe
from hfseg.training.tasks import build_task
from lavin_dit_models import TINY

TASKS = ["depth_estimation", "colorization"]


@pytest.fixture
def model(transformer):
    return LavinDiTForTraining(transformer, PixelAutoencoder(2), LavinDiTScheduler())


@pytest.fixture
def batch():
    data = InContextDataset(TASKS, num_scenes=8, image_size=(32, 32), num_examples=2)
    return InContextCollator()([data[0], data[1]])


def test_loss_is_that_of_the_equations(model, batch):
    """z_t = t x + (1 - t) e; loss = mean (v - x + e)^2 + 0.1 |v - x + e|; condition in order, query last."""
    model.eval()
    torch.manual_seed(4)
    got = model(**{key: batch[key] for key in ("input_pixels", "target_pixels")})
    torch.manual_seed(4)
    given, target = (model.encode(batch[key]) for key in ("input_pixels", "target_pixels"))
    noise, times = torch.randn(target[:, -1].shape), torch.randn(2).sigmoid()
    condition = torch.cat([given[:, 0], target[:, 0], given[:, 1], target[:, 1], given[:, 2]], dim=2)
    t = times[:, None, None, None, None]
    error = model.transformer(t * target[:, -1] + (1 - t) * noise, condition, times).sample - target[:, -1] + noise
    expected = error.square().mean() + 0.1 * error.abs().mean()
    torch.testing.assert_close(got["loss"], expected)
    torch.testing.assert_close(got["loss_dict"]["squared"], error.square().mean())


def test_loss_of_a_predicted_sample(model, batch):
    """With f = f(z_t), v = (f - z_t) / (1 - t); then as before. Times end at 0.95, where the division would blow up."""
    model.scheduler = LavinDiTScheduler(prediction_type="sample")
    model.eval()
    torch.manual_seed(4)
    got = model(**{key: batch[key] for key in ("input_pixels", "target_pixels")})
    torch.manual_seed(4)
    given, target = (model.encode(batch[key]) for key in ("input_pixels", "target_pixels"))
    noise, times = torch.randn(target[:, -1].shape), torch.randn(2).sigmoid()
    condition = torch.cat([given[:, 0], target[:, 0], given[:, 1], target[:, 1], given[:, 2]], dim=2)
    t = times[:, None, None, None, None]
    noisy = t * target[:, -1] + (1 - t) * noise
    velocity = (model.transformer(noisy, condition, times).sample - noisy) / (1 - t)
    error = velocity - target[:, -1] + noise
    torch.testing.assert_close(got["loss"], error.square().mean() + 0.1 * error.abs().mean())
    drawn = model.scheduler.sample_times(4000, torch.Generator().manual_seed(0))
    assert drawn.max() == pytest.approx(0.95) and LavinDiTScheduler().sample_times(4000).max() > 0.95


def test_loss_without_examples_sees_zero_frame_and_query(model, batch):
    seen = []
    model.transformer.register_forward_hook(lambda module, arguments, output: seen.append(arguments[1]))
    model.unconditional_ratio = 1.0
    pixels = {key: batch[key] for key in ("input_pixels", "target_pixels")}
    model.train()(**pixels)
    query = model.encode(batch["input_pixels"])[:, -1]
    assert torch.equal(seen[0], torch.cat([torch.zeros_like(query), query], dim=2))
    model.eval()(**pixels)
    assert seen[1].shape[2] == 5  # only in training
    model.unconditional_ratio = 0.0
    model.train()(**pixels)
    assert seen[2].shape[2] == 5


def test_micro_batches_are_shown_one_to_all_of_their_pairs(transformer):
    """With three pairs and at least two, half of the batches see the last two pairs, whatever the form of the batch."""
    model = LavinDiTForTraining(transformer, PixelAutoencoder(2), LavinDiTScheduler(), 0.0, min_examples=2)
    seen = []
    transformer.register_forward_hook(lambda module, arguments, output: seen.append(arguments[1]))
    data = InContextDataset(TASKS, num_scenes=8, image_size=(32, 32), num_examples=3)
    pixels = {key: value for key, value in InContextCollator()([data[0]]).items() if key != "task"}
    given, target = (model.encode(pixels[key]) for key in ("input_pixels", "target_pixels"))
    every = torch.cat(
        [given[:, 0], target[:, 0], given[:, 1], target[:, 1], given[:, 2], target[:, 2], given[:, 3]], dim=2
    )
    moments = [model.encode_moments(pixels[key]) for key in ("input_pixels", "target_pixels")]
    latents = dict(zip(("input_mean", "input_std", "target_mean", "target_std"), (*moments[0], *moments[1])))
    torch.manual_seed(0)
    for batch in (pixels, latents):
        seen.clear()
        for _ in range(40):
            model.train()(**batch)
        counts = [condition.shape[2] for condition in seen]
        assert set(counts) == {5, 7} and 10 <= counts.count(5) <= 30
        for condition in seen:
            torch.testing.assert_close(condition, every[:, :, -condition.shape[2] :])
        assert model.eval()(**batch) and seen[-1].shape[2] == 7


def test_weights_know_how_many_pairs_they_were_trained_with(tmp_path):
    with pytest.raises(ValueError, match="min_examples is 0"):
        LavinDiTForTraining.from_recipe({"min_examples": 0, "transformer": TINY, "vae": {"kind": "pixel"}})
    few, many = (InContextDataset(TASKS, num_scenes=8, image_size=(32, 32), num_examples=number) for number in (1, 3))
    task = build_task(load_recipe("lavin-dit-tiny-shapes", [*RECIPE, "model.config.min_examples=2"]))
    with pytest.raises(ValueError, match=r"min_examples is 2, but samples have 1 pairs \(data.train.num_examples\)"):
        task.build_model(few)
    model = task.build_model(many)
    for state in (None, model.state_dict()):  # as a run saves it
        model.save_pretrained(tmp_path, state_dict=state)
        assert LavinDiTPipeline.from_pretrained(tmp_path).max_examples == 3
    # The number is that of the run, not of the folder that it begins with.
    parts = [f"model.config.{name}=null" for name in ("transformer", "vae", "fit_images")]
    again = [*parts, f"model.pretrained={tmp_path}", *RECIPE[3:]]
    assert build_task(load_recipe("lavin-dit-tiny-shapes", again)).build_model(few).pipeline().max_examples == 1


def test_only_what_matters_is_trained(model, batch):
    model(**{key: batch[key] for key in ("input_pixels", "target_pixels")})["loss"].backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    assert not any(p.requires_grad for p in model.vae.parameters())


def test_checkpointing_changes_nothing(model, batch):
    pixels = {key: batch[key] for key in ("input_pixels", "target_pixels")}
    other = copy.deepcopy(model)
    other.gradient_checkpointing_enable({"use_reentrant": False})
    losses = []
    for one in (model, other):
        torch.manual_seed(1)
        one.unconditional_ratio = 0.0
        losses.append(one.train()(**pixels)["loss"])
        losses[-1].backward()
    assert torch.equal(*losses)
    for (name, a), b in zip(model.named_parameters(), other.parameters()):
        if a.grad is not None:
            torch.testing.assert_close(a.grad, b.grad, msg=name)


def test_precomputed_latents_give_the_same_loss(model, tmp_path):
    data = InContextDataset(TASKS, num_scenes=6, image_size=(32, 32), num_examples=2)
    collate = InContextCollator()
    write_latents(data, collate, model.encode_moments, tmp_path, samples_per_shard=4)
    stored = LatentDataset(str(tmp_path))
    assert len(stored) == 6 and stored.sample_id(5) == data.sample_id(5)
    assert stored.num_examples == data.num_examples == 2
    losses = []
    pixels = collate([data[5], data[0]])
    moments = collate_latents([stored[5], stored[0]])
    model.eval()
    for batch in (pixels, moments):
        torch.manual_seed(2)
        # The posterior of pixels has no spread, so that both draw the same numbers after two draws of noise.
        losses.append(model(**{key: value for key, value in batch.items() if key != "task"})["loss"])
    torch.testing.assert_close(*losses)
    (tmp_path / "shard-00001.safetensors").write_bytes(b"broken")
    with pytest.raises(ValueError, match="shard-00001"):
        stored[5]
    (tmp_path / "shard-00001.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="shard-00001"):
        LatentDataset(str(tmp_path))
    write_latents(data, collate, model.encode_moments, tmp_path, samples_per_shard=4)  # fills the gap
    assert torch.equal(LatentDataset(str(tmp_path))[5]["input_mean"], moments["input_mean"][0])


def test_unknown_settings_are_refused():
    with pytest.raises(ValueError, match="depth"):
        LavinDiTForTraining.from_recipe({"depth": 3})
    with pytest.raises(ValueError, match=r"0\.1B"):
        LavinDiTForTraining.from_recipe({"size": "7B"})


RECIPE = [
    "model.config.transformer={in_channels: 12, num_layers: 2, num_attention_heads: 2, attention_head_dim: 8, "
    "num_key_value_heads: 1, intermediate_size: 16}",
    "model.config.vae={kind: pixel, block_size: 4, latent_channels: 12, sample_height: 32, sample_width: 32}",
    "model.config.fit_images=4",
    "data.train={tasks: [depth_estimation, colorization], num_examples: 1, num_scenes: 8, image_size: [32, 32]}",
    "data.validation={tasks: [depth_estimation], num_examples: 1, num_scenes: 4, image_size: [32, 32]}",
    "data.batch_size=2",
    "run.log_every=100",
    "schedule.warmup_steps=0",
    "run.gradient_checkpointing=true",
]


def test_a_run_leaves_a_pipeline_and_resumes_exactly(tmp_path):
    arguments = ["--recipe", "lavin-dit-tiny-shapes", *RECIPE, "run.save_every=2"]
    train([*arguments, "run.max_steps=4", "--output_dir", str(tmp_path / "whole")])
    train([*arguments, "run.max_steps=4", "run.max_seconds=0", "--output_dir", str(tmp_path / "again")])  # one update
    resume = ["--resume_from_checkpoint", "latest"]
    train([*arguments, "run.max_steps=4", "--output_dir", str(tmp_path / "again"), *resume])
    pipes = [LavinDiTPipeline.from_pretrained(tmp_path / name) for name in ("whole", "again")]
    states = [pipe.transformer.state_dict() for pipe in pipes]
    assert all(torch.equal(tensor, states[1][name]) for name, tensor in states[0].items())
    fresh = LavinDiTTransformer3DModel.from_config(pipes[0].transformer.config)
    assert fresh.num_parameters() == pipes[0].transformer.num_parameters()
    assert pipes[0].transformer.final_layer.linear.weight.any()  # zero at first
    assert pipes[0].vae.mean.any()  # fitted


# --------------------------------------------------------------------------------------------------------------- ST-VAE

SMALL = {
    "block_out_channels": (8, 8, 8, 8), "latent_channels": 4, "layers_per_block": 1, "norm_num_groups": 2,
    "sample_height": 32, "sample_width": 32,
}  # fmt: skip


@pytest.fixture
def autoencoder():
    torch.manual_seed(0)
    return LavinDiTAutoencoderForTraining(
        LavinDiTAutoencoderKL(**SMALL), perceptual_weight=0.0, discriminator_channels=4, discriminator_layers=2
    )


def test_autoencoder_losses(autoencoder):
    pixels = torch.randn(2, 3, 5, 32, 32).clamp(-1, 1)
    autoencoder.eval()
    with torch.no_grad():
        posterior = autoencoder.vae.encode(pixels).latent_dist
        made = autoencoder.vae.decode(posterior.mean).sample
        out = autoencoder(pixels)
        judged = autoencoder.discriminator(made.transpose(1, 2).flatten(0, 1))
        real = autoencoder.discriminator(pixels.transpose(1, 2).flatten(0, 1))
        hinge = autoencoder(pixels, phase="discriminator")["loss"]
    normal = torch.distributions.Normal(posterior.mean, posterior.std)
    kl = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0.0, 1.0)).mean()
    torch.testing.assert_close(out["loss_dict"]["kl"], kl, rtol=1e-4, atol=1e-5)
    expected = (made - pixels).square().mean() + 1e-6 * kl - 0.1 * judged.mean()
    torch.testing.assert_close(out["loss"], expected)
    torch.testing.assert_close(hinge, ((1 - real).relu().mean() + (1 + judged).relu().mean()) / 2)


def test_discriminator_starts_late(autoencoder):
    autoencoder.adversarial_start = 1
    pixels = torch.randn(2, 3, 1, 32, 32)
    autoencoder.train()
    first, second = autoencoder(pixels), autoencoder(pixels)
    for out, share in ((first, 0.0), (second, 0.1)):
        parts = out["loss_dict"]
        expected = parts["squared"] + 1e-6 * parts["kl"] + share * parts["adversarial"]
        torch.testing.assert_close(out["loss"].detach(), expected)


def test_a_run_of_the_autoencoder(tmp_path):
    recipe = tmp_path / "vae.yaml"
    recipe.write_text(
        "base: lavin-dit-vae-tiny-shapes\n"
        "phases: [{name: autoencoder, modules: [vae]}, "
        "{name: discriminator, modules: [discriminator], first_step: 1}]\n"
    )
    overrides = [
        "model.config.vae={kind: st, block_out_channels: [8, 8, 8, 8], latent_channels: 4, layers_per_block: 1, "
        "norm_num_groups: 2, sample_height: 32, sample_width: 32}",
        "model.config.discriminator_channels=4",
        "data.train={num_scenes: 8, image_size: [32, 32]}",
        "data.validation={num_scenes: 4, image_size: [32, 32], split: validation}",
        "data.batch_size=2", "run.max_steps=3", "run.log_every=100", "schedule.warmup_steps=0",
    ]  # fmt: skip
    train(["--recipe", str(recipe), *overrides, "--output_dir", str(tmp_path / "vae")])
    vae = LavinDiTAutoencoderKL.from_pretrained(tmp_path / "vae")
    assert vae.decode(vae.encode(torch.zeros(1, 3, 1, 32, 32)).latent_dist.mode()).sample.shape == (1, 3, 1, 32, 32)
    data = FramesDataset(num_scenes=4, image_size=(32, 32), split="validation")
    expected = []
    for index in range(4):
        pixels = FramesCollator()([data[index]])["pixel_values"]
        with torch.no_grad():
            made = vae.decode(vae.encode(pixels).latent_dist.mode()).sample.clamp(-1, 1)
        expected.append(10 * math.log10(4 / float((made - pixels).square().mean())))
    metrics = json.loads((tmp_path / "vae" / "metrics.json").read_text())["metrics"]
    found = [value for name, value in metrics.items() if name.endswith("psnr")]
    assert found == [pytest.approx(sum(expected) / 4, abs=0.01)]


TINY_VAE = (
    "model.config.vae={kind: st, block_out_channels: [8, 8, 8, 8], latent_channels: 4, layers_per_block: 1, "
    "norm_num_groups: 2, sample_height: 32, sample_width: 32}"
)


def test_two_stages_on_folders_of_real_files(tmp_path):
    """Images, then images and clips: the discriminator goes on, and the scale of the latents is that of the data."""
    from PIL import Image

    draw = np.random.default_rng(0)
    for name in ("photos/a.jpg", "photos/b.jpg", *(f"clips/x/{number}.png" for number in range(5))):
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (40, 52, 3), dtype=np.uint8)).save(file)
    photos = f"source: {{reader: images, root: {tmp_path / 'photos'}}}"
    clips = f"video_source: {{root: {tmp_path / 'clips'}, num_frames: 5}}"
    common = [
        "data.validation=null", "data.batch_size=1", "run.max_steps=2", "run.log_every=100", "run.mixed_precision=no",
        "run.ema_decay=null", "model.config.perceptual_weight=0.0", "data.num_workers=0", "run.save_every=null",
        "data.collator={height: 32, width: 32}", "run.gradient_checkpointing=false",
    ]  # fmt: skip
    small = [TINY_VAE, "model.config.discriminator_channels=4", "model.config.discriminator_layers=1"]
    recipe = tmp_path / "vae.yaml"
    phases = "phases: [{name: autoencoder, modules: [vae]}, {name: discriminator, modules: [discriminator]}]\n"
    recipe.write_text(f"base: lavin-dit-vae-images\n{phases}")
    first, second = tmp_path / "first", tmp_path / "second"
    train(["--recipe", str(recipe), *common, *small, f"data.train={{{photos}}}", "--output_dir", str(first)])
    first_vae = LavinDiTAutoencoderKL.from_pretrained(first)
    latents = []
    data = FramesDataset(source={"reader": "images", "root": str(tmp_path / "photos")})
    for index in range(2):
        posterior = first_vae.encode(FramesCollator(32, 32)([data[index]])["pixel_values"]).latent_dist
        latents.append(torch.stack([posterior.sample(torch.Generator().manual_seed(i)) for i in range(200)]).flatten())
    z = (torch.cat(latents).detach() - first_vae.config.shift_factor) * first_vae.config.scaling_factor
    assert abs(float(z.mean())) < 0.02 and float(z.std()) == pytest.approx(1, abs=0.02)
    seen = {}
    original = LavinDiTAutoencoderForTraining.forward

    def forward(self, pixel_values, phase="autoencoder"):
        seen.setdefault("discriminator", {k: v.clone() for k, v in self.discriminator.state_dict().items()})
        seen.setdefault("frames", set()).add(pixel_values.shape[2])
        return original(self, pixel_values, phase)

    joint = [f"data.train={{{photos}, {clips}, video_share: 0.5}}", f"model.pretrained={first}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LavinDiTAutoencoderForTraining, "forward", forward)
        train(["--recipe", "lavin-dit-vae-videos", *common, *joint, "run.max_steps=8", "--output_dir", str(second)])
    kept = load_file(first / "discriminator" / "model.safetensors")
    assert seen["frames"] == {1, 5} and set(kept) == set(seen["discriminator"])
    assert all(torch.equal(kept[name], tensor) for name, tensor in seen["discriminator"].items())
    after = load_file(second / "discriminator" / "model.safetensors")
    assert any(not torch.equal(after[name], kept[name]) for name in kept)
    with pytest.raises(ValueError, match="discriminator_channels is 8"):
        other = load_recipe(
            "lavin-dit-vae-videos", [f"model.pretrained={first}", "model.config.discriminator_channels=8"]
        )
        other.model.config["perceptual_weight"] = 0.0
        build_task(other).build_model(data)


def test_the_scale_of_latents_is_exact():
    """A posterior of mean 2 and spread 3, or of spread 3 that lies at -1 and 5."""

    class Fixed:
        device, dtype = torch.device("cpu"), torch.float32

        def encode(self, pixels):
            posterior = SimpleNamespace(mean=pixels, std=torch.full_like(pixels, 3.0))
            return SimpleNamespace(latent_dist=posterior)

    same = [torch.full((1, 3, 1, 4, 4), 2.0)] * 2
    assert measure_latents(Fixed(), same) == pytest.approx((2.0, 1 / 3))
    apart = [torch.full((1, 3, 1, 4, 4), value) for value in (-1.0, 5.0)]
    assert measure_latents(Fixed(), apart) == pytest.approx((2.0, 1 / math.sqrt(9 + 9)))
    with pytest.raises(ValueError, match="do not vary"):
        measure_latents(Fixed(), [])
