"""`check.py FILE`: a compose file against the Compose Specification's schema and our rules."""

import sys
from pathlib import Path

import yaml
from compose_spec import ComposeSpecification
from pydantic import ValidationError

_OURS = ("auth", "sessions", "media", "ai", "gateway")


def problems(text: str) -> list[str]:
    """Return what is wrong with a compose file, one line each."""
    document = yaml.safe_load(text)
    try:
        ComposeSpecification.model_validate(document)
    except ValidationError as error:
        return [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
    services = document["services"]
    found = [f"service {name} is missing" for name in _OURS if name not in services]
    for name in _OURS:
        build = services.get(name, {}).get("build", {})
        if build.get("args", {}).get("SERVICE") != name:
            found.append(f"service {name} builds something else")
    for name, service in services.items():
        if "image" in service and ":" not in service["image"]:
            found.append(f"service {name}: the image has no version")
        found += [
            f"service {name} depends on {needed}, which is not there"
            for needed in service.get("depends_on", {})
            if needed not in services
        ]
    return found


if __name__ == "__main__":
    wrong = problems(Path(sys.argv[1]).read_text())
    print("\n".join(wrong) or f"{sys.argv[1]}: well-formed")
    raise SystemExit(bool(wrong))
