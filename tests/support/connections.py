"""Watches to which addresses a process and its children connect."""

import asyncio
import os
from contextlib import suppress
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path

_POLL_SECONDS = 0.2
_LOG_NAME = "connections.log"
_AUDIT_HOOK = f'''
"""Logs each address that Python code in this process connects, sends or resolves."""

import os
import sys

_LOG = os.path.join(os.path.dirname(__file__), "{_LOG_NAME}")
_EVENTS = {{"socket.connect": 1, "socket.sendto": 1, "socket.getaddrinfo": 0}}


def _log(event, arguments):
    if event not in _EVENTS:
        return
    address = arguments[_EVENTS[event]]
    host = address[0] if isinstance(address, tuple) else address
    if isinstance(host, bytes):
        host = host.decode(errors="replace")
    if not host or host.startswith("/"):
        return
    file = os.open(_LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(file, f"{{host}}\\n".encode())
    os.close(file)


sys.addaudithook(_log)
'''


class ConnectionWatch:
    """Collects the hosts that the processes of a run connect to.

    An audit hook sees all Python code. Native code, such as uvloop or ONNX Runtime, is seen by
    polling the sockets of the process and its children.
    """

    def __init__(self, directory: Path) -> None:
        self._log = directory / _LOG_NAME
        self.environment = {
            "PYTHONPATH": os.pathsep.join(
                [str(directory), *filter(None, [os.environ.get("PYTHONPATH")])]
            )
        }
        directory.mkdir()
        (directory / "sitecustomize.py").write_text(_AUDIT_HOOK)
        self._polled: set[str] = set()

    @property
    def hosts(self) -> set[str]:
        """The hosts so far: those of the audit hook and those of the sockets."""
        logged = self._log.read_text().split() if self._log.exists() else []
        return self._polled | set(logged)

    @property
    def foreign_hosts(self) -> set[str]:
        """The hosts so far that are not this machine's loopback interface."""
        return {host for host in self.hosts if not _is_local(host)}

    async def poll(self, pid: int) -> None:
        """Read the sockets of the process and its children until cancelled."""
        while True:
            self._polled |= await asyncio.to_thread(_list_remote_hosts, pid)
            await asyncio.sleep(_POLL_SECONDS)


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    with suppress(ValueError):
        address = ip_address(host)
        mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
        address = mapped or address
        return address.is_loopback or address.is_unspecified
    return False


def _list_remote_hosts(pid: int) -> set[str]:
    inodes: set[str] = set()
    for process in _list_tree(pid):
        with suppress(OSError):
            for descriptor in Path(f"/proc/{process}/fd").iterdir():
                with suppress(OSError):
                    inodes.add(str(descriptor.readlink()))
    hosts = set()
    for name in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]:
            fields = line.split()
            if f"socket:[{fields[9]}]" in inodes:
                hosts.add(_parse_host(fields[2].partition(":")[0]))
    return hosts


def _list_tree(pid: int) -> list[int]:
    pids = [pid]
    for one in pids:
        with suppress(OSError):
            for task in Path(f"/proc/{one}/task").iterdir():
                pids += map(int, (task / "children").read_text().split())
    return pids


def _parse_host(digits: str) -> str:
    """Return the address of `/proc/net`: 32-bit words in the machine's byte order."""
    words = [bytes.fromhex(digits[at : at + 8])[::-1] for at in range(0, len(digits), 8)]
    packed = b"".join(words)
    return str(IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed))
