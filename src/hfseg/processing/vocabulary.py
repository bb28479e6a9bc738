# Copyright 2026 The hfseg authors. Licensed under the Apache License, Version 2.0.
"""What processors of open-vocabulary models share: names of classes as texts, and how they are embedded."""

import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from transformers.image_processing_base import BatchFeature
from transformers.processing_utils import ProcessingKwargs, ProcessorMixin

from ..files.embedding_cache import cached_embeddings
from ..files.tokenizers import check_tokenizer, check_vocabulary
from .prompt_templates import TEMPLATES

Labels = Sequence[str] | Mapping[str, Sequence[str]]
# Texts embedded at once.
TEXTS_AT_ONCE = 256
# From so many texts on embeddings are kept on disk; fewer are made sooner than weights are hashed.
TEXTS_KEPT = 128


@dataclass(frozen=True)
class Vocabulary:
    """Classes and their names.

    Attributes:
        labels: Name under which each class is reported.
        names: Synonyms of each class.
    """

    labels: tuple[str, ...]
    names: tuple[tuple[str, ...], ...]

    @classmethod
    def read(cls, candidate_labels: Labels | str) -> "Vocabulary":
        """Reads a list of names (synonyms separated by commas) or a dictionary of class to synonyms.

        Raises:
            ValueError: For an empty list, empty names, or a name given twice.
        """
        if isinstance(candidate_labels, str):
            candidate_labels = [label for label in candidate_labels.split(",") if label.strip()]
        if not candidate_labels:
            raise ValueError("candidate_labels is empty: give at least one name of a class.")
        if isinstance(candidate_labels, Mapping):
            labels = [str(label).strip() for label in candidate_labels]
            names = [
                [synonyms] if isinstance(synonyms, str) else list(synonyms) for synonyms in candidate_labels.values()
            ]
            names = [given or [label] for label, given in zip(labels, names)]
        else:
            names = [str(label).split(",") for label in candidate_labels]
            labels = [given[0].strip() for given in names]
        cleaned = [tuple(dict.fromkeys(name for name in (str(n).strip() for n in given) if name)) for given in names]
        empty = [index for index, (label, given) in enumerate(zip(labels, cleaned)) if not label or not given]
        if empty:
            raise ValueError(f"candidate_labels has an empty name at position {empty[0]}.")
        same = [clean_text(label).casefold() for label in labels]  # as the text encoder reads them
        twice = sorted({label for label, one in zip(labels, same) if same.count(one) > 1})
        if twice:
            raise ValueError(
                f"candidate_labels names {', '.join(map(repr, twice))} twice: give every class once, synonyms as "
                '{"class": ["name", "other name"]}.'
            )
        return cls(tuple(labels), tuple(cleaned))


def templates_of(templates: str | Sequence[str]) -> tuple[str, ...]:
    """Looks a set of templates up, or takes one.

    Raises:
        ValueError: For an unknown set, or templates without a place for the name.
    """
    if isinstance(templates, str):
        if templates not in TEMPLATES:
            raise ValueError(f"templates={templates!r} is not known: choose one of {', '.join(TEMPLATES)}, or a list.")
        return TEMPLATES[templates]
    chosen = tuple(templates)
    wrong = [template for template in chosen if "{}" not in template]
    if wrong or not chosen:
        raise ValueError(f"Templates need a place {{}} for the name of a class: {wrong or 'none was given'}.")
    return chosen


def clean_text(text: str) -> str:
    """Repairs broken Unicode (if ftfy is installed) and HTML entities, and collapses white space, as OpenCLIP does."""
    try:
        import ftfy

        text = ftfy.fix_text(text)
    except ImportError:
        pass
    return " ".join(html.unescape(html.unescape(text)).split())


class OpenVocabularyProcessorKwargs(ProcessingKwargs, total=False):
    """Of image processor and tokenizer."""

    _defaults = {"text_kwargs": {"padding": True, "truncation": True}}


class OpenVocabularyProcessor(ProcessorMixin):
    """Joins an image processor and CLIP's tokenizer.

    Args:
        image_processor: Of images and results.
        tokenizer: `CLIPTokenizer`; texts longer than its `model_max_length` are cut.

    Raises:
        ValueError: The tokenizer has no vocabulary.
    """

    valid_processor_kwargs = OpenVocabularyProcessorKwargs

    def __init__(self, image_processor=None, tokenizer=None, **kwargs):
        check_tokenizer(tokenizer)
        super().__init__(image_processor, tokenizer, **kwargs)

    def __call__(
        self,
        images: Any = None,
        text: str | list[str] | None = None,
        segmentation_maps: Any = None,
        **kwargs: Any,
    ) -> BatchFeature:
        """Prepares images, texts, or both.

        Args:
            images: See the image processor.
            text: Texts, one per class. For classes with synonyms and templates use `embed_labels`.
            segmentation_maps: See the image processor.
            **kwargs: Of image processor and tokenizer.

        Raises:
            ValueError: If neither images nor texts are given, or anything does not fit.
        """
        return self.prepare(images, text, {"segmentation_maps": segmentation_maps}, **kwargs)

    def prepare(
        self, images: Any, text: str | list[str] | None, beside: Mapping[str, Any], **kwargs: Any
    ) -> BatchFeature:
        """Prepares images with what belongs to them (`beside`), texts, or both."""
        if images is None and text is None:
            raise ValueError("Give images, text, or both.")
        merged = self._merge_kwargs(
            cast(Any, self.valid_processor_kwargs),
            tokenizer_init_kwargs=self.tokenizer.init_kwargs if self.tokenizer else {},
            **kwargs,
        )
        data: dict[str, Any] = {}
        if text is not None:
            texts = [text] if isinstance(text, str) else list(text)
            data.update(self.tokenizer([clean_text(entry) for entry in texts], **merged["text_kwargs"]))
        if images is not None:
            data.update(self.image_processor(images, **beside, **merged["images_kwargs"]))
        return BatchFeature(data=data)

    @property
    def model_input_names(self) -> list[str]:
        """Lists what `__call__` returns."""
        names = [*(self.tokenizer.model_input_names if self.tokenizer else ()), *self.image_processor.model_input_names]
        return list(dict.fromkeys(names))

    @torch.no_grad()
    def embed_labels(
        self, model: Any, candidate_labels: Labels | str, templates: str | Sequence[str] = "vild"
    ) -> tuple[Vocabulary, torch.Tensor]:
        """Embeds classes: per name the normalized mean over templates of normalized embeddings.

        Embeddings of many texts stay on disk, see `hfseg.files.embedding_cache`.

        Args:
            model: With `get_text_features`.
            candidate_labels: Names of the classes; see `Vocabulary.read`.
            templates: `"simple"`, `"vild"`, `"imagenet"`, `"imagenet_vild"`, or sentences with a place {}.

        Returns:
            The classes, and their embeddings for `text_embeds`. Classes with fewer names than others repeat one.

        Shape:
            Embeddings `(V, R, D)`.

        Raises:
            ValueError: For an empty list, duplicates, unknown templates, or a tokenizer that is not the model's.
        """
        text_config = getattr(getattr(model, "config", None), "text_config", None)
        if text_config is not None:
            check_vocabulary(self.tokenizer, text_config, type(model).__name__)
        vocabulary, sentences = Vocabulary.read(candidate_labels), templates_of(templates)
        names = [name for given in vocabulary.names for name in given]
        texts = [clean_text(sentence.format(name)) for name in names for sentence in sentences]
        if len(texts) < TEXTS_KEPT:
            embeddings = self._embed_texts(model, texts)
        else:
            encoder = getattr(model, "text_model", model)
            embed = lambda: self._embed_texts(model, texts)  # noqa: E731
            embeddings = cached_embeddings(encoder, self.tokenizer, texts, model.device, embed)
        rows = F.normalize(embeddings.unflatten(0, (len(names), len(sentences))).mean(1), dim=-1)  # (names, D)
        most = max(len(given) for given in vocabulary.names)
        indices, first = [], 0
        for given in vocabulary.names:
            own = list(range(first, first + len(given)))
            indices.append(own + own[:1] * (most - len(own)))
            first += len(given)
        return vocabulary, rows[torch.tensor(indices, device=rows.device)]

    def _embed_texts(self, model: Any, texts: Sequence[str]) -> torch.Tensor:
        """Normalized embeddings of texts. Texts of equal length go together. Shape: `(N, D)`, float32."""
        lengths = [len(tokens) for tokens in self.tokenizer(list(texts), truncation=True)["input_ids"]]
        order = sorted(range(len(texts)), key=lengths.__getitem__)
        parts = []
        for start in range(0, len(texts), TEXTS_AT_ONCE):
            some = [texts[index] for index in order[start : start + TEXTS_AT_ONCE]]
            tokens = self.tokenizer(some, padding=True, truncation=True, return_tensors="pt").to(model.device)
            features = model.get_text_features(tokens["input_ids"], tokens["attention_mask"])
            parts.append(F.normalize(features.float(), dim=-1))
        embeddings = torch.cat(parts)
        return torch.empty_like(embeddings).index_copy_(0, torch.tensor(order, device=embeddings.device), embeddings)

    def post_process_semantic_segmentation(self, *args: Any, **kwargs: Any) -> list[Any]:
        """See the image processor's `post_process_semantic_segmentation`."""
        return self.image_processor.post_process_semantic_segmentation(*args, **kwargs)

    def post_process_panoptic_segmentation(self, *args: Any, **kwargs: Any) -> list[Any]:
        """See the image processor's `post_process_panoptic_segmentation`."""
        return self.image_processor.post_process_panoptic_segmentation(*args, **kwargs)

    def post_process_instance_segmentation(self, *args: Any, **kwargs: Any) -> list[Any]:
        """See the image processor's `post_process_instance_segmentation`."""
        return self.image_processor.post_process_instance_segmentation(*args, **kwargs)


__all__ = [
    "Labels",
    "OpenVocabularyProcessor",
    "OpenVocabularyProcessorKwargs",
    "Vocabulary",
    "clean_text",
    "templates_of",
]
