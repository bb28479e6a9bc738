# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""J-DiT's forward, its training loss and ST-VAE against the official code, through the converter.

The first two cases have the weights of `pipeline_image`. ST-VAE's filters are multiples of 1/1024 and stored as such,
to keep the file small; the authors' class computed with the same numbers.
"""

import pytest
import torch
from safetensors.torch import save_file

from golden import FIXTURES, read_case, read_tensors
from hfseg import LavinDiTAutoencoderKL, LavinDiTPipeline, LavinDiTScheduler, LavinDiTTransformer3DModel
from hfseg.commands.convert import main as convert
from hfseg.losses.flow_matching import noisy_latents, velocity_loss
from hfseg.models.lavin_dit.convert_lavin_dit import rename


@pytest.fixture(scope="module")
def transformer(tmp_path_factory):
    folder, case = tmp_path_factory.mktemp("golden"), read_case("lavin_dit/pipeline_image")
    save_file(case.weights, folder / "lavin_dit.safetensors")
    arguments = ["--architecture", "lavin_dit", "--checkpoint", str(folder / "lavin_dit.safetensors")]
    assert convert([*arguments, "--config", str(case.config_file), "--output_dir", str(folder / "out")]) == 0
    return LavinDiTTransformer3DModel.from_pretrained(folder / "out" / "transformer")


def tensors(name):
    return (read_tensors(FIXTURES / "lavin_dit" / name, stem) for stem in ("inputs", "outputs"))


def test_forward_and_what_it_passes_through(transformer):
    given, wanted = tensors("dit_gqa")
    seen = {}
    for index, block in enumerate(transformer.blocks):
        block.skip_condition = False  # as theirs, which also computes what nothing reads
        block.register_forward_hook(
            lambda m, a, out, i=index: seen.update({f"block{i}.x": out[0], f"block{i}.cond": out[1]})
        )
    attention = transformer.blocks[0].joint_attn
    attention.register_forward_hook(
        lambda m, a, out: seen.update({"block0.attn.x": out[0], "block0.attn.cond": out[1]})
    )
    with torch.no_grad():
        velocity = transformer.eval()(given["x"], given["cond"], given["t"]).sample
    torch.testing.assert_close(velocity, wanted["velocity"], atol=2e-5, rtol=0)
    taps = {name.removeprefix("tap."): tensor for name, tensor in wanted.items() if name.startswith("tap.")}
    assert set(taps) == set(seen)
    for name, tensor in taps.items():
        torch.testing.assert_close(seen[name], tensor, atol=2e-5, rtol=0, msg=lambda text, name=name: f"{name}: {text}")
    transformer.blocks[-1].skip_condition = True
    with torch.no_grad():
        assert torch.equal(transformer(given["x"], given["cond"], given["t"]).sample, velocity)


def test_training_loss_and_gradients(transformer):
    given, wanted = tensors("train_loss")
    transformer.train().zero_grad()
    times = given["u"].sigmoid()
    velocity = transformer(noisy_latents(given["x1"], given["x0"], times), given["cond"], times).sample
    loss, _ = velocity_loss(velocity, given["x1"], given["x0"])
    loss.backward()
    torch.testing.assert_close(loss, wanted["loss"], atol=1e-5, rtol=0)
    torch.testing.assert_close(velocity, wanted["velocity"], atol=2e-5, rtol=0)
    theirs = [name.removeprefix("grad_norm.") for name in wanted if name.startswith("grad_norm.")]
    names = {next(iter(rename({name: loss}))): name for name in theirs}
    checked = 0
    for name, parameter in transformer.named_parameters():
        norm = wanted[f"grad_norm.{names[name]}"]
        got = torch.zeros(()) if parameter.grad is None else parameter.grad.norm()
        torch.testing.assert_close(got, norm, rtol=1e-4, atol=1e-7, msg=lambda text, name=name: f"{name}: {text}")
        checked += bool(norm > 0)
        if f"grad.{names[name]}" in wanted:
            torch.testing.assert_close(parameter.grad, wanted[f"grad.{names[name]}"], rtol=1e-4, atol=1e-6)
    assert checked > 40


def test_autoencoder(tmp_path, transformer):
    case = read_case("lavin_dit/vae_basic")
    weights = {n: w.float() / 1024 if w.dtype == torch.int8 else w for n, w in case.weights.items()}
    torch.save({"state_dict": {**weights, "loss.logvar": torch.zeros(())}}, tmp_path / "stvae.pt")  # theirs holds more
    arguments = ["--architecture", "lavin_dit", "--checkpoint", str(tmp_path / "stvae.pt")]
    assert convert([*arguments, "--config", str(case.config_file), "--output_dir", str(tmp_path / "out")]) == 0
    vae = LavinDiTAutoencoderKL.from_pretrained(tmp_path / "out" / "vae").eval()
    for name in ("image", "video13"):
        with torch.no_grad():
            posterior = vae.encode(case.inputs[f"pixels.{name}"]).latent_dist
            sample = posterior.mean + posterior.std * case.inputs[f"eps.{name}"]
            decoded = vae.decode(case.outputs[f"sample.{name}"]).sample
        for found, key in ((posterior.mean, "mean"), (sample, "sample"), (decoded, "decoded_from_sample")):
            torch.testing.assert_close(found, case.outputs[f"{key}.{name}"], atol=2e-5, rtol=0)
    # Shift and scale of latents, as the pipeline applies them.
    pipe = LavinDiTPipeline(transformer, vae, LavinDiTScheduler())
    sample = case.outputs["sample.image"]
    latents = (sample - 0.032470703125) * 1.08936170213
    pixels = pipe.decode_latents(latents)[:, 0]
    torch.testing.assert_close(
        pixels, (case.outputs["decoded_from_sample.image"][:, :, 0] / 2 + 0.5).clamp(0, 1), atol=2e-5, rtol=0
    )
