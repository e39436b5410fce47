"""Verify the installed embedding model and fill its cache. `python -m coach_ai.prepare_embeddings`.

`make setup` runs this once, so that the first request does not compute the vectors of the knowledge
base and of the themes of questions.
"""

import sys

from coach_ai import embeddings
from coach_ai.chat import knowledge_base
from coach_ai.scoring.local.encoders import SentenceEncoder
from coach_ai.scoring.local.relevance_model import encode_themes


def main() -> int:
    """Return the exit code: 1 if the installed model is not the published one."""
    model_dir = embeddings.find_installed()
    if model_dir is None:
        print(f"{embeddings.PACKAGE} is not installed. The local coach compares words only.")
        return 0
    try:
        embeddings.verify(model_dir)
    except (embeddings.ModelMismatch, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    embedder = embeddings.Embeddings(model_dir, embeddings.default_cache_dir())
    knowledge_base.search("What is STAR?", embedder)
    encode_themes(SentenceEncoder(embedder))
    print("The embedding model is verified and its cache is filled.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
