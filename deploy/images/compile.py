"""Compile the modules that every request to the gateway passes, with mypyc, beside their sources.

Usage: `compile.py DIRECTORY PYTHON`. DIRECTORY contains the packages coach_common and
coach_gateway. PYTHON is the interpreter that runs the result and has the third-party packages.
Runs in an environment with mypy and the packages of requirements-compiler.lock.
"""

import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

MODULES = (
    "coach_common/client_address.py",
    "coach_common/clock.py",
    "coach_common/credentials.py",
    "coach_common/http/connection_state.py",
    "coach_common/http/exchange.py",
    "coach_common/http/limits.py",
    "coach_common/http/protocol.py",
    "coach_common/http/request.py",
    "coach_common/identity.py",
    "coach_common/rearmable_timer.py",
    "coach_common/telemetry.py",
    "coach_common/tokens.py",
    "coach_gateway/access.py",
    "coach_gateway/handler.py",
    "coach_gateway/limits.py",
    "coach_gateway/request_head.py",
    "coach_gateway/routing.py",
    "coach_gateway/upstream_client.py",
    "coach_gateway/upstream_connection.py",
    "coach_gateway/upstreams.py",
)

# By default zig compiles for the processor of this machine.
_COMPILER = f"{sys.executable} -m ziglang cc -mcpu=baseline"
_ENVIRONMENT = {
    "CC": _COMPILER,
    "CFLAGS": "-DNDEBUG -fwrapv -g0",  # as CPython is compiled, without symbols
    "LDSHARED": f"{_COMPILER} -shared",
    "MYPYC_DEBUG_LEVEL": "0",
}


def compile_modules(directory: Path, python: str) -> None:
    """Compile MODULES in `directory`. Raises CalledProcessError with the compiler's output."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "mypy.ini"
        config.write_text(
            f"[mypy]\npython_executable = {python}\nignore_missing_imports = true\n"
            f"cache_dir = {folder}/cache\n"
        )
        # The script writes its build folder into the working directory.
        links = Path(folder) / "sources"
        links.mkdir()
        for package in ("coach_common", "coach_gateway"):
            (links / package).symlink_to(directory.resolve() / package)
        subprocess.run(  # noqa: S603 # constant arguments
            [Path(sys.executable).with_name("mypyc"), "--config-file", config, *MODULES],
            cwd=links,
            env=os.environ | _ENVIRONMENT,
            check=True,
            capture_output=True,
            text=True,
        )
        # What the modules share. They import it by its name.
        for shared in links.glob("*.so"):
            shared.rename(directory / shared.name)


def main() -> None:
    directory, python = sys.argv[1:]
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        sys.exit("error: the headers of Python are missing (Debian: python3-dev)")
    try:
        compile_modules(Path(directory), python)
    except subprocess.CalledProcessError as error:
        sys.exit(f"{error.stdout}{error.stderr}error: mypyc failed")


if __name__ == "__main__":
    main()
