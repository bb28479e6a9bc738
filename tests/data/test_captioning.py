# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Captioning of a folder: shared by processes, resumed after a break, joined in order."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from hfseg.commands.caption import main
from hfseg.data.captioning import caption_images, join_parts, part_file
from hfseg.data.readers.entities import EntityDataset


class Answers:
    """A captioner that counts and, once, fails like a broken run."""

    def __init__(self, fail_at=None, batch_size=1):
        self.calls, self.fail_at, self.batch_size, self.sizes = 0, fail_at, batch_size, []

    def __call__(self, images, instruction):
        self.calls += 1
        self.sizes.append(len(images))
        if self.calls == self.fail_at:
            raise KeyboardInterrupt
        return ["a red ball, the sky" if "commas" in instruction else "A red ball under the sky."] * len(images)


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for index in range(5):
        Image.fromarray(np.full((8, 8, 3), index * 40, dtype=np.uint8)).save(folder / f"{index}.png")
    (folder / "5.png").write_bytes(b"no image")
    return folder


def test_captioning_is_shared_and_goes_on_after_a_break(photos, tmp_path):
    output = tmp_path / "entities.jsonl"
    images = [(path.name, path) for path in sorted(photos.iterdir())]
    with pytest.raises(KeyboardInterrupt):
        caption_images(images, output, Answers(fail_at=5), rank=0, ranks=2)
    with part_file(output, 0).open("a") as file:
        file.write('{"image": "4.p')  # the line that was being written
    again = Answers()
    counts = caption_images(images, output, again, rank=0, ranks=2)
    assert counts == {"done": 1, "known": 2, "unreadable": 0, "empty": 0} and again.calls == 2
    counts = caption_images(images, output, Answers(), rank=1, ranks=2)
    assert counts == {"done": 2, "known": 0, "unreadable": 1, "empty": 0}
    assert join_parts(output) == 5 and not list(tmp_path.glob(".entities*"))
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert [row["image"] for row in rows] == [f"{index}.png" for index in range(5)]
    assert rows[0] == {"image": "0.png", "caption": "A red ball under the sky.", "entities": ["red ball", "sky"]}
    assert caption_images(images[:5], output, None)["known"] == 5
    dataset = EntityDataset(output, root=photos)
    assert len(dataset) == 5 and dataset[1]["entities"] == ["red ball", "sky"] and dataset[1]["image"].size == (8, 8)


def test_images_are_captioned_in_batches(photos, tmp_path):
    images = [(path.name, path) for path in sorted(photos.iterdir())]
    captioner = Answers(batch_size=2)
    counts = caption_images(images, tmp_path / "entities.jsonl", captioner)
    assert counts == {"done": 5, "known": 0, "unreadable": 1, "empty": 0} and captioner.sizes == [2, 2, 2, 2, 1, 1]
    assert join_parts(tmp_path / "entities.jsonl") == 5


def test_a_model_with_code_of_its_own_has_to_be_asked_for(photos, tmp_path, monkeypatch, capsys):
    """A folder that brings its code is refused, run where that is allowed, and a Hub id wants its commit."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text(
        json.dumps(
            {"model_type": "chatty", "auto_map": {"AutoConfig": "chatty.ChattyConfig", "AutoModel": "chatty.Chatty"}}
        )
    )
    (folder / "chatty.py").write_text(
        "from transformers import PretrainedConfig, PreTrainedModel\n"
        "import torch\n\n\n"
        "class ChattyConfig(PretrainedConfig):\n    model_type = 'chatty'\n\n\n"
        "class Chatty(PreTrainedModel):\n    config_class = ChattyConfig\n\n"
        "    def __init__(self, config):\n        super().__init__(config)\n"
        "        self.scale = torch.nn.Parameter(torch.ones(1))\n"
        "        self.post_init()\n\n"
        "    def chat(self, tokenizer, query, image, history, do_sample, max_new_tokens):\n"
        "        assert query.startswith('<ImageHere>') and history == [] and not do_sample\n"
        "        return f'a dog, {image.rsplit(chr(47), 1)[-1][0]} birds', history\n"
    )
    from safetensors.torch import save_file

    save_file({"scale": torch.ones(1)}, folder / "model.safetensors", metadata={"format": "pt"})
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"a": 0, "[UNK]": 1}, "[UNK]")))
    tokenizer.save_pretrained(folder)
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    output = tmp_path / "entities.jsonl"
    ask = ["--images", str(photos), "--output", str(output), "--model", str(folder), "--max_new_tokens", "5"]
    assert main(ask) != 0 and not output.is_file()
    assert main([*ask, "--allow_remote_code"]) == 0
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    assert len(rows) == 5 and rows[3]["caption"] == "a dog, 3 birds" and "dog" in rows[3]["entities"]
    capsys.readouterr()
    ask[ask.index(str(folder))] = "internlm/internlm-xcomposer2-vl-7b"
    assert main([*ask, "--allow_remote_code"]) == 2
    assert "--revision SHA" in capsys.readouterr().err
