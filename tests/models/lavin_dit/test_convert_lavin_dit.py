# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""LaVin-DiT's released files become a pipeline, and foreign files are refused."""

import json

import torch
from safetensors.torch import save_file

from hfseg import LavinDiTPipeline
from hfseg.commands.convert import main as convert


def test_released_layout_becomes_a_pipeline(video_pipe, case, tmp_path):
    """A folder of both files; the autoencoder in a pickle with things that do not belong to it."""
    from hfseg.models.lavin_dit.convert_lavin_dit import ATTENTION

    theirs = {ours: name for name, ours in ATTENTION.items()}
    weights = {}
    for name, tensor in video_pipe.transformer.state_dict().items():
        before, found, part = name.partition(".joint_attn.")
        own, _, last = part.rpartition(".")
        weights[f"{before}{found}{theirs[own]}.{last}" if found else name] = tensor.contiguous()
    folder = tmp_path / "weights"
    folder.mkdir()
    save_file(weights, folder / "lavin_dit.safetensors")
    state = {**video_pipe.vae.state_dict(), "loss.logvar": torch.zeros(())}
    torch.save({"state_dict": state, "epoch": 3}, folder / "stvae.pt")
    config = {
        "transformer": {"num_heads": 4, "kv_group": 2}, "vae": {"norm_num_groups": 2}, "height": 32, "width": 32,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    arguments = ["--architecture", "lavin_dit", "--config", str(tmp_path / "config.json")]
    assert convert([*arguments, "--checkpoint", str(folder), "--output_dir", str(tmp_path / "both")]) == 0
    for file in ("stvae.pt", "lavin_dit.safetensors"):  # one after the other gives the same
        assert convert([*arguments, "--checkpoint", str(folder / file), "--output_dir", str(tmp_path / "apart")]) == 0
    for name in ("both", "apart"):
        pipe = LavinDiTPipeline.from_pretrained(tmp_path / name)
        for part in ("transformer", "vae"):
            expected = getattr(video_pipe, part).state_dict()
            for key, tensor in getattr(pipe, part).state_dict().items():
                assert torch.equal(tensor, expected[key]), key


def test_foreign_files_are_refused(case, tmp_path, capsys):
    broken = {name: tensor for name, tensor in case.weights.items() if "x_mlp.up_proj" not in name}
    save_file({**broken, "extra.weight": torch.zeros(1)}, tmp_path / "lavin_dit.safetensors")
    arguments = ["--architecture", "lavin_dit", "--checkpoint", str(tmp_path / "lavin_dit.safetensors")]
    arguments += ["--output_dir", str(tmp_path / "out")]
    assert convert(arguments) == 2 and "num_heads" in capsys.readouterr().err
    assert convert([*arguments, "--config", str(case.config_file)]) == 2
    message = capsys.readouterr().err
    assert "blocks.0.x_mlp.up_proj.weight" in message and "extra.weight" in message
    assert convert([*arguments[:2], "--checkpoint", str(tmp_path), "--output_dir", str(tmp_path / "out")]) == 2
    assert "stvae.pt" in capsys.readouterr().err
