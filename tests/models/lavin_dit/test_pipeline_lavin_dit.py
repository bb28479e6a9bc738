# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""The pipeline against the authors' own run, its routes, its batches and its options."""

import json
import os

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from fresh_process import run_python
from hfseg import LavinDiTPipeline, LavinDiTScheduler, LavinDiTTransformer3DModel
from hfseg.commands.convert import main as convert
from hfseg.models.lavin_dit import pipeline_lavin_dit
from hfseg.models.lavin_dit.pipeline_lavin_dit import LavinDiTExamples
from lavin_dit_models import TINY


@pytest.fixture(scope="module")
def converted(case, tmp_path_factory):
    """J-DiT of the golden case by the public command."""
    folder = tmp_path_factory.mktemp("lavin")
    save_file(case.weights, folder / "lavin_dit.safetensors")
    arguments = ["--architecture", "lavin_dit", "--checkpoint", str(folder / "lavin_dit.safetensors")]
    assert convert([*arguments, "--config", str(case.config_file), "--output_dir", str(folder / "out")]) == 0
    return folder / "out" / "transformer"


def photos(seed=0, count=5, size=32):
    return list(np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8))


def examples(count=2, size=32):
    drawn = photos(9, 2 * count, size)
    return list(zip(drawn[::2], drawn[1::2]))


def test_sampling_is_the_authors(case, converted, monkeypatch):
    """From their latents to their answer: embedding, guidance, grid and steps."""
    transformer = LavinDiTTransformer3DModel.from_pretrained(converted)
    from hfseg import PixelAutoencoder

    # Latents of 16 x 8 x 8 stand for images of 64 x 64; the stand-in is never asked to encode.
    pipe = LavinDiTPipeline(transformer, PixelAutoencoder(8), LavinDiTScheduler())
    pipe.set_progress_bar_config(disable=True)
    condition = case.outputs["cond_latents"]
    prepared = pipeline_lavin_dit.LavinDiTExamples(
        condition[:, :, :4], transformer.embed_condition(condition[:, :, :4]), 64, 64, 1, 1
    )
    monkeypatch.setattr(pipe, "_posterior", lambda *arguments: None)
    monkeypatch.setattr(pipe, "_latents", lambda *arguments: condition[:, :, 4:])
    states = []
    answer = pipe(
        case.inputs["query_image"].numpy(), prepared, latents=case.inputs["noise"], output_type="latent",
        callback_on_step_end=lambda pipe, step, time, tensors: states.append(tensors["latents"]),
    ).images  # fmt: skip
    torch.testing.assert_close(torch.cat(states), case.outputs["trajectory"][1:], atol=2e-5, rtol=0)
    torch.testing.assert_close(answer, case.outputs["latents"], atol=2e-5, rtol=0)


def test_pixels_are_the_authors(case):
    clip = pipeline_lavin_dit.to_clip(case.inputs["query_image"].numpy())
    assert torch.equal(pipeline_lavin_dit.to_pixels(clip, 64, 64)[None], case.outputs["query_pixels"])


def test_answers_are_truncated(pipe, monkeypatch):
    values = torch.tensor([0.0, 0.9999, 0.5, 254.999 / 255]).reshape(1, 1, 1, 1, 4).expand(1, 3, 1, 2, 4)
    monkeypatch.setattr(pipe.vae, "decode", lambda *a, **k: ((values - 0.5) * 2,))
    images, _ = pipe._images(torch.zeros(1, 12, 1, 1, 2), "pil", None)
    assert np.asarray(images[0])[0, :, 0].tolist() == [0, 254, 127, 254]


# -------------------------------------------------------------------------------------------------------------- routes


def test_saved_folder_comes_back(video_pipe, tmp_path):
    video_pipe.save_pretrained(tmp_path)
    again = LavinDiTPipeline.from_pretrained(tmp_path)
    again.set_progress_bar_config(disable=True)
    query, shown = photos()[0], examples()
    answers = [
        pipe(query, shown, num_inference_steps=3, generator=torch.Generator().manual_seed(1), output_type="np").images
        for pipe in (video_pipe, again)
    ]
    assert np.array_equal(*answers)
    again.save_pretrained(tmp_path / "again")
    assert json.loads((tmp_path / "again" / "model_index.json").read_text())["_class_name"] == [
        "pipeline",
        "LavinDiTPipeline",
    ]


def test_trusted_folder_loads_without_the_package_imported(pipe, tmp_path):
    pipe.save_pretrained(tmp_path / "model")
    lines = [
        "import sys",
        "from diffusers import DiffusionPipeline",
        "assert 'hfseg' not in sys.modules",
        f"pipe = DiffusionPipeline.from_pretrained({str(tmp_path / 'model')!r}, trust_remote_code=True)",
        "print('loaded', type(pipe).__name__, type(pipe.transformer).__name__, type(pipe.vae).__name__)",
    ]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": str(tmp_path / "cache")}
    done = run_python(["-c", "\n".join(lines)], env=environment)
    assert "loaded LavinDiTPipeline LavinDiTTransformer3DModel PixelAutoencoder" in done.stdout, done.stderr[-2000:]


# ------------------------------------------------------------------------------------------------------------ behavior


def test_deterministic_and_batched(pipe):
    queries, shown = photos()[:3], examples()
    seeds = [torch.Generator().manual_seed(seed) for seed in (5, 6, 7)]
    together = pipe(queries, shown, num_inference_steps=3, generator=seeds, output_type="np").images
    assert together.shape == (3, 32, 32, 3) and not np.allclose(together[0], together[1])
    alone = pipe(queries[1], shown, num_inference_steps=3, generator=torch.Generator().manual_seed(6), output_type="np")
    np.testing.assert_allclose(together[1], alone.images[0], atol=1e-5)


def test_posterior_noise_is_each_querys_own(video_pipe):
    queries, shown = photos()[:2], examples()
    call = {"examples": shown, "num_inference_steps": 3, "output_type": "latent"}
    together = video_pipe(queries, generator=[torch.Generator().manual_seed(seed) for seed in (5, 6)], **call).images
    alone = video_pipe(queries[1], generator=torch.Generator().manual_seed(6), **call).images
    torch.testing.assert_close(together[1:], alone, atol=1e-4, rtol=1e-4)
    mode = [video_pipe(queries[1], sample_posterior=False, latents=alone, **call).images for _ in range(2)]
    assert torch.equal(*mode)


def test_prepared_examples_change_nothing(video_pipe):
    call = {"num_inference_steps": 3, "output_type": "latent", "latents": torch.randn(1, 4, 1, 4, 4)}
    plain = video_pipe(photos()[0], examples(), generator=torch.Generator().manual_seed(1), **call).images
    draw = torch.Generator().manual_seed(1)
    prepared = video_pipe.prepare_examples(examples(), generator=draw)
    again = video_pipe(photos()[0], prepared, generator=draw, **call).images
    torch.testing.assert_close(again, plain, atol=1e-5, rtol=0)


def test_joined_examples_are_each_querys_own(pipe):
    """Two queries with an example each give what they give alone."""
    queries, shown = photos(1, 2), [examples(1), examples(2)[1:]]
    parts = [pipe.prepare_examples(pairs, sample_posterior=False) for pairs in shown]
    noise = torch.randn(2, 12, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    settings = {"num_inference_steps": 3, "output_type": "latent", "sample_posterior": False}
    both = pipe(queries, LavinDiTExamples.join(parts), latents=noise, **settings).images
    for index in range(2):
        alone = pipe(queries[index], parts[index], latents=noise[index : index + 1], **settings).images
        torch.testing.assert_close(both[index : index + 1], alone, atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match="cannot be joined"):
        LavinDiTExamples.join([parts[0], pipe.prepare_examples(examples(2))])


def test_a_net_that_predicts_the_sample(pipe, monkeypatch):
    """A net that always says the same image ends there, whatever the noise and the number of steps."""
    pipe.scheduler = LavinDiTScheduler(prediction_type="sample")
    wanted = torch.randn(1, 12, 1, 16, 16, generator=torch.Generator().manual_seed(1))
    monkeypatch.setattr(pipe.transformer, "forward", lambda *arguments, **settings: (wanted,))
    for steps in (1, 4, 19):
        latents = pipe(photos()[0], examples(), num_inference_steps=steps, output_type="latent").images
        torch.testing.assert_close(latents, wanted, atol=1e-5, rtol=1e-5)


def test_guidance_one_needs_one_pass(pipe, monkeypatch):
    call = {"num_inference_steps": 3, "output_type": "latent", "latents": torch.randn(1, 12, 1, 16, 16)}
    query, shown, passes = photos()[0], examples(), []
    pipe.transformer.register_forward_hook(lambda *a: passes.append(1))
    one = pipe(query, shown, guidance_scale=1.0, **call).images
    assert len(passes) == 3
    # As both passes would give it.
    almost = pipe(query, shown, guidance_scale=1.0 + 1e-9, **call).images
    assert len(passes) == 9
    torch.testing.assert_close(one, almost, atol=1e-5, rtol=0)
    assert (pipe(query, shown, guidance_scale=3.0, **call).images - one).abs().max() > 1e-2


def test_condition_without_examples(pipe):
    """Guidance 0 is the pass without examples, which keeps the query: a zero frame and the query."""
    noise = torch.randn(1, 12, 1, 16, 16)
    query, transformer = photos()[0], pipe.transformer
    got = pipe(
        query, examples(), guidance_scale=0.0, num_inference_steps=1, output_type="latent", latents=noise
    ).images  # fmt: skip
    pixels = pipeline_lavin_dit.to_pixels(pipeline_lavin_dit.to_clip(query), 32, 32)[None]
    latents = pipe.vae.encode(pixels).latent_dist.mode()
    with torch.no_grad():
        velocity = transformer(noise, torch.cat([torch.zeros_like(latents), latents], 2), torch.zeros(1)).sample
    torch.testing.assert_close(got, noise + velocity, atol=1e-4, rtol=1e-4)


def test_output_types_and_tasks(pipe):
    call = {"num_inference_steps": 2, "latents": torch.randn(1, 12, 1, 16, 16)}
    query, shown = photos()[0], examples()
    pil = pipe(query, shown, task="depth", **call)
    array = pipe(query, shown, output_type="np", **call).images
    tensor = pipe(query, shown, output_type="pt", **call).images
    assert isinstance(pil.images[0], Image.Image) and array.shape == (1, 32, 32, 3) and tensor.shape == (1, 3, 32, 32)
    assert np.array_equal((array[0] * 255).astype(np.uint8), np.asarray(pil.images[0]))
    np.testing.assert_allclose(pil.decoded[0], np.asarray(pil.images[0]).mean(-1) / 255, atol=1e-6)
    images, decoded = pipe(query, shown, return_dict=False, **call)
    assert decoded is None and len(images) == 1


def test_folder_of_examples(pipe, tmp_path):
    for number, (given, target) in enumerate(examples(3)):
        Image.fromarray(given).save(tmp_path / f"{number:03d}_input.png")
        Image.fromarray(target).save(tmp_path / f"{number:03d}_target.png")
    (tmp_path / "notes.txt").write_text("not an example")
    call = {"num_inference_steps": 2, "output_type": "latent", "latents": torch.randn(1, 12, 1, 16, 16)}
    query = photos()[0]
    torch.testing.assert_close(pipe(query, tmp_path, **call).images, pipe(query, examples(3), **call).images)
    some = [
        pipe.prepare_examples(tmp_path, num_examples=2, generator=torch.Generator().manual_seed(s)) for s in (0, 0, 1)
    ]
    assert some[0].latents.shape[2] == 4 and torch.equal(some[0].latents, some[1].latents)


def test_no_more_examples_than_the_weights_know(pipe, tmp_path, caplog):
    """Drawn from a folder; more only if one gives more, and not in silence."""
    pipeline_lavin_dit._warn_once.cache_clear()
    assert pipe.max_examples is None and pipe.prepare_examples(examples(9)).latents.shape[2] == 18
    pipe.transformer.register_to_config(max_examples=2)
    assert pipe.prepare_examples(examples(2)).latents.shape[2] == 4 and not caplog.messages
    for _ in range(2):
        assert pipe.prepare_examples(examples(3)).latents.shape[2] == 6
    assert len(caplog.messages) == 1 and "trained with 2 examples at most and is shown 3" in caplog.text
    assert pipe.prepare_examples(examples(3), num_examples=2).latents.shape[2] == 4 and len(caplog.messages) == 1
    pipeline_lavin_dit._warn_once.cache_clear()
    caplog.clear()
    for number, (given, target) in enumerate(examples(3)):
        Image.fromarray(given).save(tmp_path / f"{number:03d}_input.png")
        Image.fromarray(target).save(tmp_path / f"{number:03d}_target.png")
    assert pipe.read_examples(tmp_path)[1] == 2
    assert pipe.prepare_examples(tmp_path).latents.shape[2] == 4 and not caplog.messages
    assert pipe.prepare_examples(tmp_path, num_examples=3).latents.shape[2] == 6
    assert "trained with 2 examples at most and is shown 3" in caplog.text
    with pytest.raises(ValueError, match="max_examples is 0"):
        LavinDiTTransformer3DModel(**TINY, max_examples=0)


def test_clips(video_pipe):
    draw = np.random.default_rng(0)
    clip = lambda frames: draw.integers(0, 256, (frames, 32, 32, 3), dtype=np.uint8)  # noqa: E731
    shown = [(clip(5), clip(13))]
    out = video_pipe(clip(5), shown, num_inference_steps=2, output_type="np")
    assert out.images.shape == (1, 13, 32, 32, 3)
    frames = video_pipe([list(clip(5))], shown, num_inference_steps=2).images
    assert len(frames[0]) == 13 and isinstance(frames[0][0], Image.Image)


def test_callback_changes_and_interrupts(pipe):
    seen = []

    def callback(pipe, step, time, tensors):
        seen.append((step, float(time)))
        pipe._interrupt = step == 1
        return {"latents": torch.zeros_like(tensors["latents"])}

    out = pipe(
        photos()[0], examples(), num_inference_steps=19, callback_on_step_end=callback, output_type="latent"
    ).images
    assert [step for step, _ in seen] == [0, 1] and seen[1][1] == pytest.approx(5.6) and not out.any()


def test_bfloat16(pipe):
    call = {"num_inference_steps": 3, "output_type": "np", "latents": torch.randn(1, 12, 1, 16, 16)}
    plain = pipe(photos()[0], examples(), **call).images
    pipe.to(torch.bfloat16)
    low = pipe(photos()[0], examples(), **call).images
    assert np.isfinite(low).all() and np.abs(low - plain).mean() < 0.03


def test_released_modulations(pipe):
    call = {"num_inference_steps": 3, "output_type": "latent", "latents": torch.randn(1, 12, 1, 16, 16)}
    plain = pipe(photos()[0], examples(), **call).images
    pipe.transformer.release_modulation_weights()
    torch.testing.assert_close(pipe(photos()[0], examples(), **call).images, plain, atol=1e-5, rtol=0)


# ------------------------------------------------------------------------------------------------------ as in diffusers


def test_n_steps_are_n_steps(pipe):
    for count in (1, 4, 19):
        seen = []
        pipe(photos()[0], examples(), num_inference_steps=count, output_type="latent",
             callback_on_step_end=lambda pipe, step, time, tensors, seen=seen: seen.append(step) or {})  # fmt: skip
        assert seen == list(range(count)) and pipe.num_timesteps == count == pipe.scheduler.num_inference_steps


def test_steps_of_ones_own(pipe):
    """Shares of noise as in diffusers and times of this model are the same steps, by both schedulers."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    call = {"query": photos()[0], "examples": examples(), "output_type": "latent"}
    call["latents"] = torch.randn(1, 12, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    call["sample_posterior"] = False
    usual = pipe(**call, num_inference_steps=5).images
    times = pipe.scheduler.sigmas[:-1].tolist()
    answers = [pipe(**call, sigmas=times).images, pipe(**call, sigmas=np.array([1 - time for time in times])).images]
    pipe.scheduler = FlowMatchEulerDiscreteScheduler(invert_sigmas=True)
    answers += [pipe(**call, sigmas=[1 - time for time in times]).images, pipe(**call, sigmas=times).images]
    for answer in answers:
        torch.testing.assert_close(answer, usual, atol=1e-5, rtol=0)
    assert not torch.allclose(pipe(**call, sigmas=[1.0, 0.5]).images, usual, atol=1e-3)
    with pytest.raises(ValueError, match="descend from 1"):
        pipe(**call, sigmas=[0.5, 1.0])


def test_several_answers_to_a_query(video_pipe):
    """Each is what its generator gives alone; they lie beside each other, query by query."""
    queries, call = photos()[:2], {"num_inference_steps": 2, "output_type": "latent"}
    seeds = [torch.Generator().manual_seed(number) for number in range(6)]
    many = video_pipe(queries, examples(), generator=seeds, num_images_per_prompt=3, **call).images
    assert many.shape[0] == 6
    for place in (0, 2, 4):
        own = torch.Generator().manual_seed(place)
        alone = video_pipe(queries[place // 3], examples(), generator=own, **call).images
        torch.testing.assert_close(many[place : place + 1], alone, atol=1e-4, rtol=1e-4)
    tall = np.zeros((48, 32, 3), np.uint8)
    answers = video_pipe([tall, queries[0]], examples(), num_images_per_prompt=2, num_inference_steps=1).images
    assert [image.size for image in answers] == [(32, 48), (32, 48), (32, 32), (32, 32)]
    for wrong in (0, 1.5, True):
        with pytest.raises(ValueError, match="num_images_per_prompt is"):
            video_pipe(queries, examples(), num_images_per_prompt=wrong, **call)
    with pytest.raises(ValueError, match="6 generators for 2 queries with 2 answers each"):
        video_pipe(queries, examples(), generator=seeds, num_images_per_prompt=2, **call)


def test_several_answers_with_examples_of_each_query(pipe):
    queries, noise = photos(1, 2), torch.randn(4, 12, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    parts = [pipe.prepare_examples(pairs, sample_posterior=False) for pairs in (examples(1), examples(2)[1:])]
    call = {"num_inference_steps": 2, "output_type": "latent", "sample_posterior": False}
    both = pipe(queries, LavinDiTExamples.join(parts), latents=noise, num_images_per_prompt=2, **call).images
    for place in range(4):
        alone = pipe(queries[place // 2], parts[place // 2], latents=noise[place : place + 1], **call).images
        torch.testing.assert_close(both[place : place + 1], alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["pixels", "st"])
def test_from_pipe_shares_the_parts(pipe, video_pipe, kind):
    given = pipe if kind == "pixels" else video_pipe
    again = LavinDiTPipeline.from_pipe(given)
    assert again.transformer is given.transformer and again.vae is given.vae
    assert again.scheduler is given.scheduler


def test_answers_have_the_size_of_their_query(pipe):
    tall = np.zeros((50, 70, 3), np.uint8)
    call = {"examples": examples(), "num_inference_steps": 1, "latents": torch.randn(1, 12, 1, 16, 16)}
    assert pipe(tall, **call).images[0].size == (70, 50)
    assert pipe(tall, output_size="model", **call).images[0].size == (32, 32)
    assert pipe(tall, output_type="np", **call).images.shape == (1, 50, 70, 3)
    call["latents"] = torch.randn(2, 12, 1, 16, 16)
    both = pipe([tall, tall[:40]], output_type="pt", **call).images
    assert [tuple(image.shape) for image in both] == [(3, 50, 70), (3, 40, 70)]
    with pytest.raises(ValueError, match="output_size is 'screen'"):
        pipe(tall, output_size="screen", **call)


def test_other_schedulers_are_refused(pipe):
    from diffusers import DDIMScheduler, EulerDiscreteScheduler, FlowMatchEulerDiscreteScheduler

    for scheduler in (DDIMScheduler(), EulerDiscreteScheduler(), FlowMatchEulerDiscreteScheduler()):
        with pytest.raises(ValueError, match=rf"{type(scheduler).__name__}.*velocity"):
            LavinDiTPipeline(pipe.transformer, pipe.vae, scheduler)
        pipe.scheduler = scheduler
        with pytest.raises(ValueError, match="velocity"):
            pipe(photos()[0], examples(), num_inference_steps=2)
    pipe.scheduler = FlowMatchEulerDiscreteScheduler(invert_sigmas=True)
    pipe(photos()[0], examples(), num_inference_steps=2)


def test_sampling_is_in_evaluation_mode(transformer):
    """With stochastic depth, a pipeline in training mode gives what it gives in evaluation mode, and stays in it."""
    from hfseg import PixelAutoencoder
    from lavin_dit_models import TINY, drawn

    torch.manual_seed(0)
    model = drawn(LavinDiTTransformer3DModel(**{**TINY, "num_layers": 3, "drop_path_rate": 0.9})).train()
    pipe = LavinDiTPipeline(model, PixelAutoencoder(2, sample_height=32, sample_width=32), LavinDiTScheduler())
    pipe.set_progress_bar_config(disable=True)
    parts = list(model.modules())
    parts[3].eval()  # one part on purpose
    modes = [part.training for part in parts]
    call = {"examples": examples(), "num_inference_steps": 2, "output_type": "latent"}
    answers = [pipe(photos()[0], generator=torch.Generator().manual_seed(1), **call).images for _ in range(3)]
    assert torch.equal(answers[0], answers[1]) and torch.equal(answers[0], answers[2])
    assert [part.training for part in parts] == modes
    model.eval()
    assert torch.equal(pipe(photos()[0], generator=torch.Generator().manual_seed(1), **call).images, answers[0])


def test_examples_are_encoded_once_for_many_images(pipe, tmp_path, monkeypatch):
    from hfseg.inference.predictor import Options, Predictor, Prompts
    from tiny_zoo import example_pairs, image

    pipe.save_pretrained(tmp_path / "model")
    predictor = Predictor(tmp_path / "model", progress=False)
    folder, encoded = example_pairs(tmp_path / "pairs", 2), []
    original = predictor.pipe.vae.encode
    monkeypatch.setattr(predictor.pipe.vae, "encode", lambda *a, **k: encoded.append(1) or original(*a, **k))
    prompts, options = Prompts(examples=str(folder)), Options(num_inference_steps=1)
    first = [np.asarray(predictor(image(seed=seed), prompts, options).answer) for seed in (0, 1, 0)]
    assert len(encoded) == 4  # the examples, and each query
    assert np.array_equal(first[0], first[2]) and first[0].shape[:2] == image().size[::-1]
    image(32, 32, 5).save(folder / "0_input.png")  # another example under the same name
    predictor(image(), prompts, options)
    assert len(encoded) == 6
