"""Build and run the compose deployment, break it, and write the results into docs/deployment.md.

`make verify-containers`. Needs Docker with Compose v2. Everything runs in a compose project of its
own on free ports, so that a running deployment is not touched. Base images come from the variables
`PYTHON_IMAGE`, `MYSQL_IMAGE` and so on, else from a registry, else deploy/images/local makes them.
"""

import asyncio
import os
import platform
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

import compose_settings
from coach_ai.speech.samples import SAMPLE_RATE
from coach_embedded.api_client import ApiClient, ApiClientError, ClientSocket
from coach_embedded.demo import QUESTION, word_error_rate
from generated_file import ROOT

PROJECT = "genai-coach-verify"
TAG = "verify"
GUIDE = ROOT / "docs" / "deployment.md"
BEGIN, END = "<!-- verification: begin -->", "<!-- verification: end -->"

RECORDINGS = Path(str(files("coach_embedded") / "recordings"))
READING, READING_TEXT = RECORDINGS / "reading.wav", (RECORDINGS / "reading.txt").read_text()
ANSWER, ANSWER_TEXT = RECORDINGS / "answer.m4a", (RECORDINGS / "answer.txt").read_text()
PASSWORD = secrets.token_hex(16)

BUILT = ("gateway", "auth", "sessions", "media", "store", "ai")
KILLED = ("gateway", "auth", "sessions", "media", "ai", "store", "rabbitmq", "redis", "mysql")
SCALED = ("gateway", "auth", "sessions", "media", "ai")
IMAGE_GOALS_MB = {
    **{"gateway": 80, "auth": 120, "sessions": 120, "media": 120, "ai": 600},
    **{"store": 60, "embedded": None},
}
"""Most megabytes over the base image. The image with all services has no goal."""
START_GOAL_SECONDS = 15

_COMMAND_SECONDS = 1800.0
_PULL_SECONDS = 300.0
_FEEDBACK_SECONDS = 240.0
_RETRY_SECONDS = 120.0
_POLL_SECONDS = 0.5
_FRAME_BYTES = SAMPLE_RATE // 4 * 2
"""A quarter of a second of 16-bit samples."""


class StepFailed(Exception):
    """A step of the verification did not end as expected. The message is one line."""


@dataclass(frozen=True, slots=True)
class Step:
    """A step that was run."""

    name: str
    seconds: float
    result: str
    is_passed: bool


@dataclass(slots=True)
class Deployment:
    """The compose project under test, and an account whose data must survive everything."""

    environment: dict[str, str]
    gateway_port: int
    email: str = field(default_factory=lambda: f"keeper-{uuid4().hex}@example.com")
    feedback: dict[str, Any] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    sizes_mb: dict[str, float] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://localhost:{self.gateway_port}"

    def run(
        self, *command: str, cwd: Path = ROOT, variables: Mapping[str, str] | None = None
    ) -> str:
        """Run a command in the environment of the project and return its output.

        Raises:
            StepFailed: If it fails or runs for longer than half an hour.
        """
        try:
            done = subprocess.run(
                command,
                cwd=cwd,
                env=self.environment | dict(variables or {}),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=_COMMAND_SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise StepFailed(f"{command[0]} {command[1]}: no end") from None
        if done.returncode != 0:
            lines = done.stdout.strip().splitlines() or ["no output"]
            print("\n".join(lines[-40:]), file=sys.stderr)
            raise StepFailed(f"{' '.join(command)[:80]}: {lines[-1][:200]}")
        return done.stdout.strip()

    def compose(self, *arguments: str, **variables: str) -> str:
        """Run `docker compose`."""
        return self.run("docker", "compose", *arguments, variables=variables)

    def up(self, **variables: str) -> str:
        """Run `make up` and return its last line."""
        return self.run("bash", "deploy/compose/up.sh", variables=variables).splitlines()[-1]

    async def step(self, name: str, work: Callable[[], Awaitable[str] | str]) -> bool:
        """Run a step, print its result, and return whether it passed."""
        started_at = time.perf_counter()
        try:
            outcome = work()
            result, is_passed = outcome if isinstance(outcome, str) else await outcome, True
        except (StepFailed, ApiClientError, httpx.HTTPError, OSError, LookupError) as error:
            result, is_passed = f"FAILED: {error or type(error).__name__}", False
        seconds = time.perf_counter() - started_at
        self.steps.append(Step(name, seconds, result, is_passed))
        print(f"{name:44} {seconds:7.1f} s  {result}", flush=True)
        _write_results(self)
        return is_passed


async def main() -> int:
    """Run the verification and return the exit code."""
    if (reason := _missing()) is not None:
        print(f"skipped: {reason}")
        return 0
    ports = _free_ports(3)
    deployment = Deployment(_environment(ports), ports[0])
    try:
        await _verify(deployment)
    finally:
        deployment.compose("--profile", "proxy", "down", "--volumes", "--remove-orphans")
    print(f"\n{_report(deployment)}")
    return 0 if all(step.is_passed for step in deployment.steps) else 1


def _missing() -> str | None:
    """Return why containers cannot run here, or None."""
    if shutil.which("docker") is None:
        return "Docker is not installed"
    for command, reason in (
        (("docker", "info"), "the Docker daemon is not reachable"),
        (("docker", "compose", "version"), "Docker Compose v2 is not installed"),
    ):
        if subprocess.run(command, capture_output=True).returncode != 0:
            return reason
    return None


def _environment(ports: Sequence[int]) -> dict[str, str]:
    """Return the environment of all commands. The settings in .env do not apply."""
    variables = compose_settings.variables(compose_settings.COMPOSE_FILE.read_text())
    own = {
        "COMPOSE_PROJECT_NAME": PROJECT,
        "COMPOSE_FILE": str(compose_settings.COMPOSE_FILE),
        "COMPOSE_ENV_FILES": os.devnull,
        "COACH_TAG": TAG,
        "GATEWAY_PORT": str(ports[0]),
        "STORE_PORT": str(ports[2]),
        "EDGE_SUBNET": "10.213.71.0/24",
    }
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in variables or name.endswith("_IMAGE")
    }
    return inherited | own


def _free_ports(count: int) -> list[int]:
    """Return consecutive free ports."""
    for first in range(18000, 30000, count):
        ports = list(range(first, first + count))
        if all(_is_free(port) for port in ports):
            return ports
    raise StepFailed("no free ports")


def _is_free(port: int) -> bool:
    with closing(socket.socket()) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("", port))
        except OSError:
            return False
    return True


async def _verify(deployment: Deployment) -> None:
    step = deployment.step
    if not await step("Base images", lambda: _find_base_images(deployment)):
        return
    for name in BUILT:
        await step(f"Build {name}", partial(_build, deployment, name))
        if name not in deployment.sizes_mb:
            return
    if not await step("First `make up`, with empty volumes", lambda: _up(deployment)):
        return
    await step("`make demo URL=…`", lambda: _demo(deployment, deployment.url))
    await step("An answer that must survive everything", lambda: _answer_to_keep(deployment))
    await step("Spoken live answer, ai killed in the middle", lambda: _live_answer(deployment))
    for name in KILLED:
        await step(f"Kill {name} during an interview", partial(_kill, deployment, name))
    await step("Two of each service", lambda: _scale(deployment))
    await step("Operator commands of this guide", lambda: _operate(deployment))
    await step("Backup and restore of this guide", lambda: _back_up(deployment))
    await step("`make down`, `make up`: all data is there", lambda: _restart(deployment))
    if not await step("Build embedded", partial(_build, deployment, "embedded")):
        return
    await step("TLS proxy: the demo by HTTPS", lambda: _proxy(deployment))
    deployment.compose("--profile", "proxy", "down")
    await step("All services in one container", lambda: _all_in_one(deployment))


def _find_base_images(deployment: Deployment) -> str:
    """Choose the base images: those that are set, else pulled, else made here."""
    made = []
    for name, default in _base_images().items():
        if deployment.environment.get(name):
            continue
        if _is_available(default, deployment):
            deployment.environment[name] = default
            continue
        kind = name.removesuffix("_IMAGE").lower()
        deployment.run("bash", "deploy/images/local/build.sh", kind)
        deployment.environment[name] = f"genai-coach/local-{kind}:latest"
        made.append(kind)
    set_by_hand = [name for name in _base_images() if os.environ.get(name)]
    notes = [f"made here: {', '.join(made)}"] if made else []
    notes += [f"given: {', '.join(set_by_hand)}"] if set_by_hand else []
    return "; ".join(notes) or "pulled"


def _base_images() -> dict[str, str]:
    variables = compose_settings.variables(compose_settings.COMPOSE_FILE.read_text())
    return {name: value for name, value in variables.items() if name.endswith("_IMAGE")}


def _is_available(image: str, deployment: Deployment) -> bool:
    for command in (("image", "inspect", image), ("pull", "--quiet", image)):
        try:
            done = subprocess.run(
                ("docker", *command),
                env=deployment.environment,
                capture_output=True,
                timeout=_PULL_SECONDS,
            )
        except subprocess.TimeoutExpired:
            return False
        if done.returncode == 0:
            return True
    return False


def _build(deployment: Deployment, name: str) -> str:
    """Build an image and compare its size over the base image with the goal."""
    image, base = f"genai-coach/{name}:{TAG}", deployment.environment["PYTHON_IMAGE"]
    if name == "embedded":
        arguments = [f"SERVICE={name}", "SOURCES=.", f"PYTHON_IMAGE={base}"]
        options = [part for argument in arguments for part in ("--build-arg", argument)]
        command = ["docker", "build", *options, "-f", "deploy/Dockerfile", "-t", image, "."]
        deployment.run(*command)
    else:
        deployment.compose("build", name)
    size = (_size(deployment, image) - _size(deployment, base)) / 1e6
    deployment.sizes_mb[name] = size
    goal = IMAGE_GOALS_MB[name]
    if goal is not None and size > goal:
        raise StepFailed(f"{size:.0f} MB over the base image; the goal is {goal} MB")
    return f"{size:.0f} MB over the base image"


def _size(deployment: Deployment, image: str) -> int:
    return int(deployment.run("docker", "image", "inspect", "--format", "{{.Size}}", image))


def _up(deployment: Deployment) -> str:
    return deployment.up().replace(deployment.url, "its address")


def _demo(deployment: Deployment, url: str) -> str:
    coach = Path(sys.executable).with_name("coach")
    output = deployment.run(str(coach), "demo", "--url", url)
    return output.splitlines()[-1]


async def _sign_in(client: ApiClient, email: str) -> None:
    signed_in = await _retry(
        lambda: client.call("POST", "/auth/login", email=email, password=PASSWORD)
    )
    client.token = signed_in["token"]


async def _retry(call: Callable[[], Awaitable[dict[str, Any]]]) -> dict[str, Any]:
    """Repeat a call until it succeeds, for two minutes: connections recover after a restart."""
    ends_at = time.perf_counter() + _RETRY_SECONDS
    while True:
        try:
            return await call()
        except (ApiClientError, httpx.HTTPError):
            if time.perf_counter() > ends_at:
                raise
            await asyncio.sleep(_POLL_SECONDS)


async def _submit(client: ApiClient, recording: Path, content_type: str) -> str:
    """Upload a recording, complete its session, and return the id of the session."""
    session_id = await client.open_session("Verification", QUESTION)
    key = await client.upload(recording, content_type, session_id=session_id)
    await client.confirm(key, session_id=session_id)
    await client.complete(session_id)
    return session_id


async def _wait_for_feedback(client: ApiClient, session_id: str) -> dict[str, Any]:
    ends_at = time.perf_counter() + _FEEDBACK_SECONDS
    while True:
        feedback = await _retry(lambda: client.feedback(session_id))
        if feedback["status"] == "ready":
            return feedback
        if feedback["status"] == "failed":
            raise StepFailed(f"the feedback failed: {feedback.get('detailed_feedback')}")
        if time.perf_counter() > ends_at:
            raise StepFailed(f"no feedback within {_FEEDBACK_SECONDS:.0f} s")
        await asyncio.sleep(_POLL_SECONDS)


def _require_words(feedback: dict[str, Any], reference: str, most: float) -> str:
    rate = word_error_rate(reference, feedback["transcript"] or "")
    if rate > most:
        raise StepFailed(f"the word error rate is {rate:.0%}")
    return f"transcript complete (word error rate {rate:.1%})"


async def _answer_to_keep(deployment: Deployment) -> str:
    async with ApiClient(deployment.url) as client:
        await client.register(deployment.email, PASSWORD)
        session_id = await _submit(client, ANSWER, "audio/m4a")
        deployment.feedback = await _wait_for_feedback(client, session_id)
        deployment.feedback["session_id"] = session_id
    words = _require_words(deployment.feedback, ANSWER_TEXT, 0.10)
    return f"{words}, score {deployment.feedback['overall_score']}"


async def _require_kept_answer(deployment: Deployment) -> None:
    """Require the account, the feedback and the recording of the kept answer."""
    async with ApiClient(deployment.url) as client:
        await _sign_in(client, deployment.email)
        kept = dict(deployment.feedback)
        session_id = kept.pop("session_id")
        feedback = await _retry(lambda: client.feedback(session_id))
        changed = sorted(name for name in kept if feedback.get(name) != kept[name])
        if changed:
            raise StepFailed(f"the feedback of the kept answer changed: {', '.join(changed)}")
        session = await client.call("GET", f"/sessions/{session_id}")
        if not session["audio_s3_key"]:
            raise StepFailed("the recording of the kept answer is lost")


async def _live_answer(deployment: Deployment) -> str:
    from coach_ai.speech.audio import decode

    content = (decode(ANSWER) * 32767).astype("<i2").tobytes()
    half = len(content) // 2
    async with ApiClient(deployment.url) as client:
        await _sign_in(client, deployment.email)
        session_id = await client.open_session("Live", QUESTION)
        async with client.socket() as phone:
            key = (await _start_audio(phone, session_id=session_id))["key"]
            await _speak(phone, content[:half])
            deployment.compose("kill", "ai")
            deployment.compose("up", "--detach", "--no-build", "--no-recreate", "--wait", "ai")
        async with client.socket() as phone:
            started = await _resume_audio(phone, session_id, key)
            await _speak(phone, content[int(started["received"]) :])
            await phone.send("audio_end")
            await phone.wait_for("transcript", seconds=_FEEDBACK_SECONDS, session_id=session_id)
        await client.complete(session_id)
        feedback = await _wait_for_feedback(client, session_id)
    words = _require_words(feedback, ANSWER_TEXT, 0.10)
    return f"resumed at {started['received'] / len(content):.0%}, {words}"


async def _start_audio(phone: ClientSocket, **fields: Any) -> dict[str, Any]:
    await phone.send("audio_start", format="pcm16", sample_rate=SAMPLE_RATE, **fields)
    return (await phone.wait_for("audio_started", seconds=30)).frame


async def _resume_audio(phone: ClientSocket, session_id: str, key: str) -> dict[str, Any]:
    """Resume a recording. The gateway may need seconds to find the new ai."""
    for _ in range(10):
        await phone.send(
            "audio_start",
            format="pcm16",
            sample_rate=SAMPLE_RATE,
            session_id=session_id,
            key=key,
        )
        try:
            return (await phone.wait_for("audio_started", seconds=3)).frame
        except ApiClientError:
            continue
    errors = [received.frame.get("code") for received in phone.frames("error")]
    raise StepFailed(f"the recording could not be resumed: {errors}")


async def _speak(phone: ClientSocket, content: bytes) -> None:
    """Send audio at ten times the speed of speech."""
    for start in range(0, len(content), _FRAME_BYTES):
        await phone.send_audio(content[start : start + _FRAME_BYTES])
        await asyncio.sleep(0.025)


async def _kill(deployment: Deployment, name: str) -> str:
    """Kill a container while an interview is processed, start it, and wait for the feedback."""
    async with ApiClient(deployment.url) as client:
        await _sign_in(client, deployment.email)
        session_id = await _submit(client, READING, "audio/wav")
        deployment.compose("kill", name)
        deployment.compose("up", "--detach", "--no-build", "--no-recreate", "--wait", name)
        await _sign_in(client, deployment.email)
        feedback = await _wait_for_feedback(client, session_id)
    return _require_words(feedback, READING_TEXT, 0.05)


async def _scale(deployment: Deployment) -> str:
    """Scale as the guide says, hold interviews through both gateways, and scale back."""
    range_of_ports = f"{deployment.gateway_port}-{deployment.gateway_port + 1}"
    replicas = [f"--scale={name}=2" for name in SCALED]
    arguments = ("up", "--detach", "--no-build", "--no-recreate", "--wait")
    deployment.compose(*arguments, *replicas, GATEWAY_PORT=range_of_ports)
    for name in SCALED:
        if len(deployment.compose("ps", "--quiet", name).split()) != 2:
            raise StepFailed(f"{name} has not two replicas")

    async def interview(port: int) -> str:
        async with ApiClient(f"http://localhost:{port}") as client:
            await _sign_in(client, deployment.email)
            session_id = await _submit(client, READING, "audio/wav")
            return _require_words(await _wait_for_feedback(client, session_id), READING_TEXT, 0.05)

    ports = [deployment.gateway_port, deployment.gateway_port + 1] * 3
    async with asyncio.TaskGroup() as group:
        interviews = [group.create_task(interview(port)) for port in ports]
    deployment.compose(*arguments, *(f"--scale={name}=1" for name in SCALED))
    return f"{len(interviews)} interviews at once through both gateways"


def _guide_commands(heading: str) -> str:
    """Return the first block of commands under a heading of the guide."""
    section = GUIDE.read_text().partition(f"### {heading}\n")[2]
    found = re.search(r"```bash\n(.*?)```", section, re.DOTALL)
    if found is None:
        raise StepFailed(f"the guide has no commands under {heading}")
    return found[1]


def _operate(deployment: Deployment) -> str:
    commands = _guide_commands("Operator commands")
    commands = commands.replace("exec ", "exec -T ").replace("EMAIL", deployment.email)
    output = deployment.run("bash", "-ec", commands)
    if deployment.email not in output:
        raise StepFailed("`coach users show` does not show the account")
    return f"{len(commands.splitlines())} commands"


async def _back_up(deployment: Deployment) -> str:
    with tempfile.TemporaryDirectory(prefix="coach-verify-") as directory:
        commands = _guide_commands("Backup and restore")
        deployment.run("bash", "-ec", commands, cwd=Path(directory))
        sizes = _file_sizes(Path(directory))
    if not sizes or min(sizes.values()) < 10_000:
        raise StepFailed(f"a backup is empty: {sizes}")
    await _require_kept_answer(deployment)
    return ", ".join(f"{name} {size / 1000:.0f} kB" for name, size in sorted(sizes.items()))


def _file_sizes(directory: Path) -> dict[str, int]:
    return {file.name: file.stat().st_size for file in directory.iterdir()}


async def _restart(deployment: Deployment) -> str:
    deployment.compose("down")
    started_at = time.perf_counter()
    deployment.up()
    seconds = time.perf_counter() - started_at
    await _require_kept_answer(deployment)
    return f"ready after {seconds:.0f} s (goal {START_GOAL_SECONDS} s); the kept answer is there"


def _proxy(deployment: Deployment) -> str:
    """Run the demo in a container that knows the proxy by its two names and trusts its CA."""
    domain, store_domain = "coach.localhost", "store.localhost"
    http_port, https_port = _free_ports(2)
    deployment.up(
        COMPOSE_PROFILES="proxy",
        DOMAIN=domain,
        STORE_DOMAIN=store_domain,
        S3_PUBLIC_ENDPOINT_URL=f"https://{store_domain}",
        HTTP_PORT=str(http_port),
        HTTPS_PORT=str(https_port),
    )
    container = deployment.compose("--profile", "proxy", "ps", "--quiet", "proxy")
    network = f"{PROJECT}_edge"
    template = f'{{{{(index .NetworkSettings.Networks "{network}").IPAddress}}}}'
    address = deployment.run("docker", "inspect", "--format", template, container)
    with tempfile.TemporaryDirectory(prefix="coach-verify-") as directory:
        certificate = Path(directory) / "root.crt"
        source = f"{container}:/data/caddy/pki/authorities/local/root.crt"
        _wait_for(lambda: deployment.run("docker", "cp", source, str(certificate)))
        Path(directory).chmod(0o755)
        certificate.chmod(0o644)
        command = ["docker", "run", "--rm", "--read-only", "--tmpfs=/tmp"]
        command += ["--network", network, "--volume", f"{certificate}:/root.crt:ro"]
        command += ["--env", "SSL_CERT_FILE=/root.crt"]
        for name in (domain, store_domain):
            command += ["--add-host", f"{name}:{address}"]
        command += [f"genai-coach/embedded:{TAG}", "coach", "demo", "--url", f"https://{domain}"]
        return deployment.run(*command).splitlines()[-1]


def _wait_for(work: Callable[[], object]) -> None:
    ends_at = time.perf_counter() + _RETRY_SECONDS
    while True:
        try:
            work()
        except StepFailed:
            if time.perf_counter() > ends_at:
                raise
            time.sleep(_POLL_SECONDS)
        else:
            return


def _all_in_one(deployment: Deployment) -> str:
    """Run the image with all services, with the ports of the guide if they are free."""
    is_default = _is_free(8000) and _is_free(9000)
    first, second = (8000, 9000) if is_default else _free_ports(2)
    name = f"{PROJECT}-all"
    command = ["docker", "run", "--detach", "--name", name, "--read-only", "--tmpfs=/tmp"]
    command += ["-p", f"{first}:{first}", "-p", f"{second}:{second}"]
    if not is_default:
        command += ["--env", f"PORT={first}", "--env", f"STORE_PORT={second}"]
    command += ["--volume", f"{name}:/var/lib/coach", f"genai-coach/embedded:{TAG}"]
    try:
        deployment.run(*command)
        started_at = time.perf_counter()
        health = ("docker", "inspect", "--format", "{{.State.Health.Status}}", name)

        def require_health() -> None:
            if deployment.run(*health) != "healthy":
                raise StepFailed(f"not healthy: {deployment.run('docker', 'logs', name)[-300:]}")

        _wait_for(require_health)
        seconds = time.perf_counter() - started_at
        result = _demo(deployment, f"http://localhost:{first}")
        return f"healthy after {seconds:.0f} s; {result}"
    finally:
        deployment.run("docker", "rm", "--force", name)
        deployment.run("docker", "volume", "rm", "--force", name)


def _write_results(deployment: Deployment) -> None:
    """Write the results so far into the guide."""
    text = GUIDE.read_text()
    begin, end = text.index(BEGIN) + len(BEGIN), text.index(END)
    GUIDE.write_text(f"{text[:begin]}\n{_report(deployment)}{text[end:]}")


def _report(deployment: Deployment) -> str:
    server = deployment.run("docker", "version", "--format", "{{.Server.Version}}")
    compose = deployment.compose("version", "--short")
    images = [
        f"`{name.removesuffix('_IMAGE').lower()}`: `{deployment.environment[name]}`"
        for name in _base_images()
        if name in deployment.environment
    ]
    lines = [
        f"Docker {server}, Compose {compose}, {os.cpu_count()} processors ({platform.machine()}),"
        f" {time.strftime('%d %B %Y', time.gmtime())}. Images: {', '.join(images)}.",
        "",
        "| step | seconds | result |",
        "|---|---|---|",
        *(f"| {step.name} | {step.seconds:.1f} | {step.result} |" for step in deployment.steps),
        "",
        "| image | MB over the base image | goal |",
        "|---|---|---|",
        *(
            f"| {name} | {size:.0f} | {IMAGE_GOALS_MB[name] or '—'} |"
            for name, size in deployment.sizes_mb.items()
        ),
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
