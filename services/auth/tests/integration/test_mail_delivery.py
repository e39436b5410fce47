"""Delivery of queued mails: by SMTP, to a folder, with retries, without secrets in logs."""

import asyncio
import email
import email.policy
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import structlog
from sqlalchemy import select

from coach_auth import workers
from coach_auth.app import build
from coach_auth.config import AuthSettings
from coach_auth.deps import Deps
from coach_auth.domain import MailTemplate, QueuedMail
from coach_auth.mail import Mail, render
from coach_auth.mailer import FolderMailer, MailRejected, SmtpMailer
from coach_auth.tables import ACCOUNT_TOKENS, MAILS
from coach_auth.use_cases import mails
from coach_common.config import SettingsError
from coach_common.errors import Unavailable
from coach_common.ids import new_id
from coach_common.testing.fakes import FakeClock, FakeTransport
from coach_common.testing.harness import client_for, migrated_service, wait_until

EMAIL, PASSWORD = "alice@example.com", "correct horse"

DeliverMails = Callable[[], Awaitable[None]]


@dataclass
class FakeSmtpServer:
    """An SMTP server (RFC 5321) that keeps what it gets. `rcpt_reply` answers RCPT."""

    port: int = 0
    rcpt_reply: str = "250 ok"
    hangs: bool = False
    received: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def reply(line: str) -> None:
            writer.write(f"{line}\r\n".encode())
            await writer.drain()

        if self.hangs:
            await reader.read()
            return
        await reply("220 fake ESMTP")
        while line := (await reader.readline()).decode().strip():
            verb = line.split()[0].upper()
            if verb == "EHLO":
                await reply("250-fake\r\n250-SMTPUTF8\r\n250 8BITMIME")
            elif verb == "RCPT":
                self.recipients.append(line.partition("<")[2].partition(">")[0])
                await reply(self.rcpt_reply)
            elif verb == "DATA":
                await reply("354 go on")
                data = await reader.readuntil(b"\r\n.\r\n")
                message = email.message_from_bytes(data[:-3], policy=email.policy.default)
                assert isinstance(message, EmailMessage)
                self.received.append(message)
                await reply("250 queued")
            elif verb == "QUIT":
                await reply("221 bye")
                break
            else:
                await reply("250 ok")
        writer.close()


@asynccontextmanager
async def _smtp_server(**options: Any) -> AsyncIterator[FakeSmtpServer]:
    fake = FakeSmtpServer(**options)
    server = await asyncio.start_server(fake.handle, "127.0.0.1", 0)
    async with server:
        fake.port = server.sockets[0].getsockname()[1]
        yield fake


def _smtp_settings(settings: AuthSettings, port: int) -> AuthSettings:
    return AuthSettings.load(
        **settings.model_dump()
        | {
            "smtp_host": "127.0.0.1",
            "smtp_port": port,
            "smtp_security": "none",
            "mail_from": "GenAI Coach <coach@example.com>",
            "app_url": "https://app.example.com/",
        }
    )


def _mail(recipient: str = EMAIL) -> Mail:
    queued = QueuedMail(
        new_id(), MailTemplate.PASSWORD_RESET, None, recipient, 0, FakeClock()(), FakeClock()()
    )
    return render(queued, user_id=new_id(), recipient=recipient, token="t0ken", app_url=None)


@pytest.fixture
def log_lines() -> Iterator[io.StringIO]:
    """Collect the log entries of a test as JSON lines."""
    stream = io.StringIO()
    before = structlog.get_config()
    structlog.configure(
        processors=[structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger("INFO"),
        logger_factory=structlog.WriteLoggerFactory(stream),
    )
    yield stream
    structlog.configure(**before)


async def _count(deps: Deps) -> int:
    async with deps.db.read_only() as tx:
        return len(await tx.fetch_all(select(MAILS)))


@pytest.mark.parametrize("seconds", [86_400, 600])
async def test_mail_is_sent_although_its_clock_was_ahead(
    settings: AuthSettings, seconds: int
) -> None:
    clock = FakeClock()
    async with (
        _smtp_server() as server,
        migrated_service(
            build(_smtp_settings(settings, server.port), FakeTransport(), clock=clock)
        ) as service,
        client_for(service) as client,
    ):
        clock.advance(seconds)
        await client.post("/auth/register", json={"email": EMAIL, "password": PASSWORD})
        clock.advance(-seconds)

        assert await mails.deliver_due_mails(service.deps) == 1


async def test_registration_sends_text_and_html_mail_through_smtp(settings: AuthSettings) -> None:
    async with (
        _smtp_server() as server,
        migrated_service(build(_smtp_settings(settings, server.port), FakeTransport())) as service,
        client_for(service) as client,
    ):
        deps = service.deps
        await client.post("/auth/register", json={"email": EMAIL, "password": PASSWORD})
        assert await mails.deliver_due_mails(deps) == 1
        (message,) = server.received
        text = message.get_body(("plain",)).get_content()  # type: ignore[union-attr]
        html = message.get_body(("html",)).get_content()  # type: ignore[union-attr]
        link = next(word for word in text.split() if word.startswith("https://"))
        url, _, token = link.partition("#token=")
        verified = await client.post("/auth/verify", json={"token": token})

        assert url == "https://app.example.com/verify-email"
        assert link in html
        assert (message["To"], message["From"]) == (EMAIL, "GenAI Coach <coach@example.com>")
        assert message["Subject"] == "Confirm your e-mail address"
        assert message["Message-ID"] and message["Date"]
        assert verified.status_code == 204
        assert await _count(deps) == 0


async def test_unavailable_mail_server_is_retried_with_backoff(
    client: httpx.AsyncClient,
    phone: Any,
    deps: Deps,
    mailer: Any,
    clock: FakeClock,
    deliver_mails: DeliverMails,
) -> None:
    mailer.error = Unavailable("The mail server is temporarily unavailable.")
    delays = []
    for _ in range(4):
        await deliver_mails()
        async with deps.db.read_only() as tx:
            next_attempt_at = await tx.scalar(select(MAILS.c.next_attempt_at))
        delays.append((next_attempt_at - clock()).total_seconds())
        clock.at = next_attempt_at
    mailer.error = None
    await deliver_mails()

    assert delays == [30, 60, 120, 240]
    assert len(mailer.sent) == 1
    assert await _count(deps) == 0


async def test_late_reset_mail_still_carries_thirty_minutes(
    client: httpx.AsyncClient,
    phone: Any,
    mailer: Any,
    clock: FakeClock,
    deliver_mails: DeliverMails,
) -> None:
    await deliver_mails()
    mailer.error = Unavailable("The mail server is temporarily unavailable.")
    await client.post("/auth/password/forgot", json={"email": EMAIL})
    await deliver_mails()
    clock.advance(40 * 60)
    mailer.error = None
    await deliver_mails()
    clock.advance(29 * 60)

    body = {"token": mailer.token("password_reset", EMAIL), "new_password": "better horse"}
    assert (await client.post("/auth/password/reset", json=body)).status_code == 204


async def test_rejected_mail_is_not_retried(
    phone: Any, deps: Deps, mailer: Any, deliver_mails: DeliverMails
) -> None:
    mailer.error = MailRejected("The mail server does not accept the recipient.")
    await deliver_mails()

    assert await _count(deps) == 0


async def test_mail_is_given_up_after_its_delivery_period(
    phone: Any, deps: Deps, mailer: Any, clock: FakeClock, deliver_mails: DeliverMails
) -> None:
    clock.advance(86_400)
    await deliver_mails()

    assert mailer.sent == []
    assert await _count(deps) == 0


async def test_replicas_send_a_mail_once(
    phone: Any, deps: Deps, settings: AuthSettings, mailer: Any, clock: FakeClock
) -> None:
    async with migrated_service(
        build(settings, FakeTransport(), clock=clock, mailer=mailer)
    ) as other:
        both = (deps, other.deps)
        await asyncio.gather(*(mails.deliver_due_mails(one) for one in both for _ in range(3)))

    assert len(mailer.sent) == 1


async def test_mails_wait_if_delivery_is_not_configured(settings: AuthSettings) -> None:
    async with (
        migrated_service(build(settings, FakeTransport())) as service,
        client_for(service) as client,
    ):
        deps = service.deps
        await client.post("/auth/register", json={"email": EMAIL, "password": PASSWORD})

        assert await mails.deliver_due_mails(deps) == 0
        assert await _count(deps) == 1


async def test_worker_delivers_as_soon_as_a_mail_is_queued(
    client: httpx.AsyncClient, deps: Deps, mailer: Any
) -> None:
    async def is_sent() -> bool:
        return bool(mailer.sent)

    worker = asyncio.create_task(workers.deliver_mails(deps))
    try:
        await client.post("/auth/register", json={"email": EMAIL, "password": PASSWORD})
        # The worker polls every 5 s; a mail that is queued here wakes it.
        await wait_until(is_sent, description="the mail", timeout_seconds=3.0)
    finally:
        worker.cancel()


async def test_folder_mailer_writes_private_files_and_logs_no_token(
    settings: AuthSettings, tmp_path: Path, log_lines: io.StringIO
) -> None:
    folder = tmp_path / "mail"
    local = AuthSettings.load(**settings.model_dump() | {"mail_dir": folder})
    async with (
        migrated_service(build(local, FakeTransport())) as service,
        client_for(service) as client,
    ):
        deps = service.deps
        account = {"email": EMAIL, "password": PASSWORD}
        token = (await client.post("/auth/register", json=account)).json()["token"]
        await mails.deliver_due_mails(deps)
        (file,) = folder.iterdir()
        content = file.read_text()
        async with deps.db.read_only() as tx:
            mail_id: UUID = await tx.scalar(select(ACCOUNT_TOKENS.c.id))
        secret = deps.key_derivation.derive_account_token(mail_id)
        mode, folder_mode = file.stat().st_mode & 0o777, folder.stat().st_mode & 0o777
        bearer = {"authorization": f"Bearer {token}"}
        await client.request("DELETE", "/auth/me", json={"password": PASSWORD}, headers=bearer)

    assert secret in content
    assert (mode, folder_mode) == (0o600, 0o700)
    lines = log_lines.getvalue()
    entries = [json.loads(line) for line in lines.splitlines()]
    assert [entry["file"] for entry in entries if entry["event"] == "mail.written"] == [str(file)]
    assert secret not in lines and EMAIL not in lines
    assert list(folder.iterdir()) == []


async def test_folder_mailer_keeps_the_newest_two_hundred(tmp_path: Path) -> None:
    mailer = FolderMailer(tmp_path / "mail", None)
    sent = [_mail() for _ in range(203)]
    for mail in sent:
        await mailer.send(mail)

    kept = sorted(file.name.partition("_")[0] for file in (tmp_path / "mail").iterdir())
    assert kept == sorted(str(mail.id) for mail in sent[3:])


@pytest.mark.parametrize(
    ("reply", "error"),
    [("550 no such user", MailRejected), ("451 try again", Unavailable)],
)
async def test_smtp_replies_decide_about_a_retry(
    settings: AuthSettings, reply: str, error: type[Exception]
) -> None:
    async with _smtp_server(rcpt_reply=reply) as server:
        mailer = SmtpMailer(_smtp_settings(settings, server.port))
        with pytest.raises(error):
            await mailer.send(_mail())


async def test_closed_port_is_unavailable(settings: AuthSettings) -> None:
    async with _smtp_server() as server:
        port = server.port
    with pytest.raises(Unavailable):
        await SmtpMailer(_smtp_settings(settings, port)).send(_mail())


async def test_silent_mail_server_times_out(settings: AuthSettings) -> None:
    async with _smtp_server(hangs=True) as server:
        mailer = SmtpMailer(_smtp_settings(settings, server.port), timeout_seconds=0.2)
        with pytest.raises(Unavailable):
            await mailer.send(_mail())


async def test_international_domain_is_sent_in_ascii(settings: AuthSettings) -> None:
    async with _smtp_server() as server:
        await SmtpMailer(_smtp_settings(settings, server.port)).send(_mail("alice@bücher.example"))

    assert server.recipients == ["alice@xn--bcher-kva.example"]


def test_smtp_host_requires_a_sender(settings: AuthSettings) -> None:
    with pytest.raises(SettingsError, match="MAIL_FROM"):
        AuthSettings.load(**settings.model_dump() | {"smtp_host": "mail.example.com"})
