"""Check a compose file against the Compose Specification and the rules of this repository.

Usage: `check.py FILE`.
"""

import sys
from pathlib import Path

import yaml
from compose_spec import ComposeSpecification
from pydantic import ValidationError

_SERVICES = ("auth", "sessions", "media", "ai", "gateway")


def problems(text: str) -> list[str]:
    """Return the problems of a compose file, one line each."""
    document = yaml.safe_load(text)
    try:
        ComposeSpecification.model_validate(document)
    except ValidationError as error:
        return [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
    services = document["services"]
    lines = [f"service {name} is missing" for name in _SERVICES if name not in services]
    for name in _SERVICES:
        build = services.get(name, {}).get("build", {})
        if build.get("args", {}).get("SERVICE") != name:
            lines.append(f"service {name} does not build itself")
    for name, service in services.items():
        if "image" in service and ":" not in service["image"]:
            lines.append(f"service {name}: the image has no version")
        lines += [
            f"service {name} depends on {dependency}, which does not exist"
            for dependency in service.get("depends_on", {})
            if dependency not in services
        ]
    return lines


if __name__ == "__main__":
    lines = problems(Path(sys.argv[1]).read_text())
    print("\n".join(lines) or f"{sys.argv[1]}: valid")
    raise SystemExit(bool(lines))
