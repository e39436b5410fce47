"""Check a compose file against the Compose Specification and the rules of this repository.

Usage: `check.py FILE`.
"""

import re
import sys
from pathlib import Path
from typing import Any

import yaml
from compose_spec import ComposeSpecification
from pydantic import ValidationError

_BUILT = ("auth", "sessions", "media", "ai", "gateway", "store")
_LIMITS = ("mem_limit", "pids_limit", "logging", "networks")
_DEFAULT = re.compile(r"\$\{\w+:-([^{}]*)\}")
"""A variable with its default."""
_SECRET_WORDS = ("PASSWORD", "SECRET", "TOKEN", "API_KEY")


def problems(text: str) -> list[str]:
    """Return the problems of a compose file, one line each."""
    document = yaml.safe_load(text)
    try:
        ComposeSpecification.model_validate(document)
    except ValidationError as error:
        return [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
    services = document["services"]
    lines = [f"service {name} is missing" for name in _BUILT if name not in services]
    for name, service in services.items():
        build = service.get("build")
        selected = str((build or {}).get("args", {}).get("SERVICE"))
        if name in _BUILT and _DEFAULT.sub(r"\1", selected) != name:
            lines.append(f"service {name} does not build itself")
        if ":" not in service.get("image", ""):
            lines.append(f"service {name}: the image has no version")
        lines += [
            f"service {name} depends on {dependency}, which does not exist"
            for dependency in service.get("depends_on", {})
            if dependency not in services
        ]
        lines += [f"service {name} {problem}" for problem in _weaknesses(service)]
    internal = {name for name, one in document["networks"].items() if (one or {}).get("internal")}
    if "data" not in internal or "data" in services["gateway"]["networks"]:
        lines.append("the network data is reached from outside or by the gateway")
    return lines


def _weaknesses(service: dict[str, Any]) -> list[str]:
    """Return what gives a container more than it needs."""
    found = [f"has no {name}" for name in _LIMITS if name not in service]
    if service.get("cap_drop") != ["ALL"]:
        found.append("keeps capabilities")
    if "no-new-privileges:true" not in service.get("security_opt", []):
        found.append("may gain privileges")
    if not service.get("read_only"):
        found.append("has a writable root")
    found += [
        f"has a secret in {name}; use {name}_FILE"
        for name in service.get("environment", {})
        if any(word in name for word in _SECRET_WORDS)
        and not name.endswith(("_FILE", "_ACCESS_KEY_ID"))
    ]
    return found


if __name__ == "__main__":
    lines = problems(Path(sys.argv[1]).read_text())
    print("\n".join(lines) or f"{sys.argv[1]}: valid")
    raise SystemExit(bool(lines))
