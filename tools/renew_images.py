"""Pin the images of docker-compose.yml and deploy/Dockerfile to the newest digest of their tags.

`make renew-images`. Needs Docker and an image registry. A tag changes by hand, where it stands.
"""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import compose_settings
from generated_file import ROOT

DOCKERFILE = ROOT / "deploy" / "Dockerfile"

_TIMEOUT_SECONDS = 60.0
_IMAGE = re.compile(
    r"(?P<before>[A-Z]+_IMAGE(?::-|=))(?P<tag>[a-z0-9./-]+:[A-Za-z0-9._-]+)(?:@sha256:[0-9a-f]{64})?"
)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class NoRegistry(Exception):
    """The digest of a tag could not be read. The message is one line."""


def renew(text: str, find_digest: Callable[[str], str]) -> str:
    """Return the text with the current digest behind each default image."""
    return _IMAGE.sub(
        lambda match: f"{match['before']}{match['tag']}@{find_digest(match['tag'])}", text
    )


def find_digest(tag: str) -> str:
    """Return the digest of a tag's manifest for all platforms.

    Raises:
        NoRegistry: If Docker is missing or reaches no registry.
    """
    command = ("docker", "buildx", "imagetools", "inspect", tag)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoRegistry(f"{tag}: {type(error).__name__}") from None
    found = re.search(r"^Digest:\s*(\S+)", done.stdout, re.MULTILINE)
    if done.returncode != 0 or found is None or _DIGEST.fullmatch(found[1]) is None:
        lines = done.stderr.strip().splitlines() or ["no digest"]
        raise NoRegistry(f"{tag}: {lines[-1]}")
    return found[1]


def main(paths: tuple[Path, ...] = (compose_settings.COMPOSE_FILE, DOCKERFILE)) -> int:
    """Renew the digests in all files, or change none of them."""
    try:
        renewed = {path: renew(path.read_text(), find_digest) for path in paths}
    except NoRegistry as error:
        print(f"error: no image registry is reachable ({error})", file=sys.stderr)
        return 1
    for path, text in renewed.items():
        is_changed = text != path.read_text()
        path.write_text(text)
        print(f"{path.relative_to(ROOT)}: {'renewed' if is_changed else 'up to date'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
