# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""Captions of images by a vision-language model, and the entities they name: the data of open-vocabulary training.

The work is shared by the processes of `accelerate launch` and goes on where a broken run stopped: every process
appends to a file of its own, which are joined at the end.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ..files.images import load_image
from ..files.listing import list_files
from ..files.tokenizers import check_tokenizer
from ..files.writing import replacing
from .readers.entities import extract_entities

__all__ = ["Captioner", "RemoteCaptioner", "caption_folder", "caption_images", "join_parts", "part_file"]

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff")
DESCRIBE = "Describe this image in detail: every object, animal, person and region of the background that you see."
LIST = "List the visible things and background regions of this image as short noun phrases, separated by commas."


def images_of(folder: Path) -> list[Path]:
    """Lists the images of a folder and its subfolders, in order.

    Raises:
        FileNotFoundError: If there is none.
    """
    found = list_files(folder, IMAGES)
    if not found:
        raise FileNotFoundError(f"{folder} holds no images ({', '.join(IMAGES)}).")
    return found


class Captioner:
    """A vision-language model of transformers, asked with images and an instruction.

    Args:
        model: Folder or Hub id of any model of `pipeline("image-text-to-text")`.
        max_new_tokens: Of an answer.
        device: Where it runs; default: transformers' choice.
        batch_size: Images that the model is asked about together.
    """

    def __init__(self, model: str, max_new_tokens: int = 256, device: Any = None, batch_size: int = 1):
        from transformers import pipeline

        self.max_new_tokens, self.batch_size = max_new_tokens, batch_size
        self.pipe: Any = pipeline("image-text-to-text", model=model, device=device)
        tokenizer = getattr(self.pipe.processor, "tokenizer", None)
        if tokenizer is not None and batch_size > 1:
            tokenizer.padding_side = "left"  # what is generated follows the prompt
            if tokenizer.pad_token is None:
                tokenizer.pad_token = tokenizer.eos_token

    def __call__(self, images: Sequence[Any], instruction: str) -> list[str]:
        """Answers, one per image."""
        given: dict[str, Any] = {"max_new_tokens": self.max_new_tokens, "return_full_text": False}
        if self.batch_size > 1:
            given["batch_size"] = self.batch_size
        if getattr(self.pipe.processor, "chat_template", None) is not None:
            chats = [
                [
                    {
                        "role": "user",
                        "content": [{"type": "image", "image": image}, {"type": "text", "text": instruction}],
                    }
                ]
                for image in images
            ]
            answers = self.pipe(text=chats, **given)
        else:
            answers = self.pipe(images=list(images), text=[instruction] * len(images), **given)
        return [_answer_text(answer) for answer in answers]


def _answer_text(answer: Any) -> str:
    """The text of one answer of a pipeline, which may stand in a list, or in a chat."""
    while isinstance(answer, list):
        answer = answer[0]
    text = answer["generated_text"]
    return str(text[-1]["content"] if isinstance(text, list) else text).strip()


class RemoteCaptioner:
    """A model that answers by code of its own, which its folder brings: InternLM-XComposer2, as the thesis uses.

    **This runs Python of whoever made the folder.** Nothing else here does; it has to be asked for by name
    (`--allow_remote_code`), and a pinned `revision` is wanted of the Hub.

    Args:
        model: Folder, or Hub id with `revision`.
        max_new_tokens: Of an answer.
        device: Where it runs.
        revision: Commit on the Hub.

    Raises:
        ValueError: The model comes from the Hub and no commit is named, or it has no method `chat`.
    """

    batch_size = 1  # its `chat` takes one image

    def __init__(self, model: str, max_new_tokens: int = 256, device: Any = None, revision: str | None = None):
        from transformers import AutoModel, AutoTokenizer

        if not Path(model).is_dir() and revision is None:
            raise ValueError(
                f"{model} is not a folder, and its code would be run: name the commit you have read, --revision SHA."
            )
        given: dict[str, Any] = {"trust_remote_code": True, "revision": revision}
        self.tokenizer = AutoTokenizer.from_pretrained(model, **given)
        check_tokenizer(self.tokenizer)
        self.model: Any = AutoModel.from_pretrained(model, **given).eval()
        if not hasattr(self.model, "chat"):
            raise ValueError(f"{model} holds {type(self.model).__name__}, which has no method `chat`.")
        if device is not None:
            self.model = self.model.to(device)
        self.max_new_tokens = max_new_tokens

    def __call__(self, images: Sequence[Any], instruction: str) -> list[str]:
        """Answers, one per image (each a path)."""
        query = f"<ImageHere>{instruction}"
        settings = {"history": [], "do_sample": False, "max_new_tokens": self.max_new_tokens}
        return [str(self.model.chat(self.tokenizer, query=query, image=str(i), **settings)[0]).strip() for i in images]


def read_lines(file: Path) -> Iterator[dict[str, Any]]:
    """Reads JSON lines; a line that a broken run left unfinished is passed over."""
    if file.is_file():
        for line in file.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                continue


def part_file(output: Path, rank: int) -> Path:
    """Names the file that a process appends to."""
    return output.with_name(f".{output.name}.part{rank}")


def caption_images(
    images: Iterable[tuple[str, Any]],
    output: Path,
    captioner: Any,
    extractor: str = "list",
    instruction: str = DESCRIBE,
    list_instruction: str = LIST,
    captions: dict[str, str] | None = None,
    rank: int = 0,
    ranks: int = 1,
) -> dict[str, int]:
    """Captions this process's share of the images that no earlier run has done.

    Args:
        images: Name and path of every image.
        output: File to be made; this process appends to a part beside it.
        captioner: `(images, instruction) -> texts`, with `batch_size`; None if captions are given.
        extractor: `list` asks the model for a list; the others read the caption.
        instruction: For the caption.
        list_instruction: For the list.
        captions: Caption by name of the image.
        rank: Of this process.
        ranks: Number of processes.

    Returns:
        Numbers of images `done`, `known` from an earlier run, `unreadable`, and `empty` (without an entity).
    """
    known = {row["image"] for row in read_lines(output)}
    for part in output.parent.glob(f".{output.name}.part*"):
        known |= {row["image"] for row in read_lines(part)}
    counts = {"done": 0, "known": 0, "unreadable": 0, "empty": 0}
    own = part_file(output, rank)
    # A broken last line must not swallow the next.
    unfinished = own.is_file() and own.stat().st_size > 0 and not own.read_bytes().endswith(b"\n")
    by_path = isinstance(captioner, RemoteCaptioner)
    with own.open("a", encoding="utf-8") as file:
        if unfinished:
            file.write("\n")

        def write(name: str, caption: str, source: str) -> None:
            entities = extract_entities(source, extractor)
            counts["done"] += 1
            counts["empty"] += not entities
            file.write(json.dumps({"image": name, "caption": caption, "entities": entities}, ensure_ascii=False) + "\n")
            file.flush()

        def ask(batch: list[tuple[str, Any]]) -> None:
            photos = [photo for _, photo in batch]
            texts = captioner(photos, instruction)
            sources = captioner(photos, list_instruction) if extractor == "list" else texts
            for (name, _), text, source in zip(batch, texts, sources):
                write(name, text, source)

        waiting: list[tuple[str, Any]] = []
        for index, (name, path) in enumerate(images):
            if index % ranks != rank:
                continue
            if name in known:
                counts["known"] += 1
                continue
            if captions is not None:
                write(name, captions.get(name, ""), captions.get(name, ""))
                continue
            try:
                photo = load_image(path)
            except (OSError, ValueError) as error:
                print(f"{name} cannot be read and is skipped: {error}", file=sys.stderr)
                counts["unreadable"] += 1
                continue
            waiting.append((name, path if by_path else photo))
            if len(waiting) == captioner.batch_size:
                ask(waiting)
                waiting = []
        if waiting:
            ask(waiting)
    return counts


def join_parts(output: Path) -> int:
    """Joins what all processes wrote, and an earlier result, into the output, sorted by name, in one step.

    Returns:
        Number of images. A parquet file is written if the output's name ends so.
    """
    parts = sorted(output.parent.glob(f".{output.name}.part*"))
    rows: dict[str, dict[str, Any]] = {}
    if output.suffix == ".parquet" and output.is_file():
        from datasets import load_dataset

        rows = {row["image"]: dict(row) for row in load_dataset("parquet", data_files=str(output), split="train")}
    elif output.suffix != ".parquet":
        rows = {row["image"]: row for row in read_lines(output)}
    for file in parts:
        rows |= {row["image"]: row for row in read_lines(file)}
    ordered = [rows[name] for name in sorted(rows)]
    with replacing(output) as temporary:
        if output.suffix == ".parquet":
            from datasets import Dataset

            Dataset.from_list(ordered).to_parquet(str(temporary))
        else:
            lines = (json.dumps(row, ensure_ascii=False) for row in ordered)
            temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    for file in parts:
        file.unlink()
    return len(ordered)


def caption_folder(
    images: str | Path,
    output: str | Path,
    *,
    model: str | None = None,
    captions: str | Path | None = None,
    extractor: str | None = None,
    instruction: str = DESCRIBE,
    list_instruction: str = LIST,
    max_new_tokens: int = 256,
    batch_size: int = 1,
    allow_remote_code: bool = False,
    revision: str | None = None,
) -> int | None:
    """Captions the images of a folder and writes caption and entities of each.

    Args:
        images: The folder.
        output: `.jsonl` or `.parquet` file.
        model: Any image-text-to-text model of transformers; or give `captions`.
        captions: JSON lines with `image` and `caption`.
        extractor: Of entities; default: "list" with a model, else "rules".
        instruction, list_instruction, max_new_tokens: Of the model.
        batch_size: Images that the model is asked about together; the memory sets the limit.
        allow_remote_code: The model answers by code that comes with it, see `RemoteCaptioner`.
        revision: Of such a model on the Hub.

    Returns:
        Number of images in the output; None in other processes than the first.

    Raises:
        FileNotFoundError, ValueError: An input is missing or not right.
    """
    from accelerate import PartialState

    if (model is None) == (captions is None):
        raise ValueError("give model or captions, one of them.")
    state, folder, file = PartialState(), Path(images), Path(output)
    found = [(path.relative_to(folder).as_posix(), path) for path in images_of(folder)]
    file.parent.mkdir(parents=True, exist_ok=True)
    if batch_size < 1:
        raise ValueError(f"batch_size is {batch_size}; give 1 or more.")
    known: dict[str, str] | None = None
    captioner: Captioner | RemoteCaptioner | None = None
    if captions is not None:
        if not Path(captions).is_file():
            raise FileNotFoundError(f"There is no file of captions {str(captions)!r}.")
        rows = list(read_lines(Path(captions)))
        if any("image" not in row or "caption" not in row for row in rows):
            raise ValueError(f"{captions}: every line needs image and caption.")
        known = {row["image"]: row["caption"] for row in rows}
    else:
        if allow_remote_code:
            captioner = RemoteCaptioner(str(model), max_new_tokens, state.device, revision)
        else:
            captioner = Captioner(str(model), max_new_tokens, state.device, batch_size)
    counts = caption_images(
        found,
        file,
        captioner,
        extractor or ("list" if captioner is not None else "rules"),
        instruction,
        list_instruction,
        known,
        state.process_index,
        state.num_processes,
    )
    state.wait_for_everyone()
    print(f"process {state.process_index}: {', '.join(f'{number} {what}' for what, number in counts.items())}")
    return join_parts(file) if state.is_main_process else None
