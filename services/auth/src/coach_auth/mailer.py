"""Send mails by SMTP, or write them to a folder. The only module that imports aiosmtplib."""

import asyncio
import ssl
from email.message import EmailMessage
from pathlib import Path
from typing import Protocol
from uuid import UUID

import aiosmtplib

from coach_auth.config import AuthSettings
from coach_auth.mail import Mail
from coach_common import logs
from coach_common.errors import CoachError, Unavailable

log = logs.get_logger(__name__)

_SMTP_TIMEOUT_SECONDS = 20.0
"""For a whole attempt; shorter than the first retry delay of a queued mail."""
_MAX_STORED_MAILS = 200
_DEFAULT_SENDER = "GenAI Coach <no-reply@localhost>"


class MailRejected(CoachError):
    """The mail server rejected the mail permanently."""

    code = "mail_rejected"


class Mailer(Protocol):
    """Delivers mails."""

    prints_tokens: bool
    """True if operators get a token in the terminal, because mails do not leave the machine."""

    async def send(self, mail: Mail) -> None:
        """Deliver a mail. Sending it again is harmless.

        Raises:
            Unavailable: If a later attempt may succeed.
            MailRejected: If no attempt will succeed.
        """

    async def erase(self, user_id: UUID) -> None:
        """Delete stored copies of a user's mails."""


class SmtpMailer:
    """Sends mails through an SMTP server, one connection per mail."""

    prints_tokens = False

    def __init__(
        self, settings: AuthSettings, *, timeout_seconds: float = _SMTP_TIMEOUT_SECONDS
    ) -> None:
        self._settings = settings
        self._sender = settings.mail_from or _DEFAULT_SENDER
        self._timeout_seconds = timeout_seconds
        self._tls = ssl.create_default_context()

    async def send(self, mail: Mail) -> None:
        """Send a mail."""
        message = mail.to_message(sender=self._sender)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                await self._send(message)
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            if _is_permanent(error):
                raise MailRejected("The mail server does not accept the mail.") from error
            raise Unavailable("The mail server is temporarily unavailable.") from error

    async def erase(self, user_id: UUID) -> None:
        """Do nothing: no copy is stored."""

    async def _send(self, message: EmailMessage) -> None:
        settings = self._settings
        await aiosmtplib.send(
            message,
            hostname=settings.smtp_host,
            port=settings.smtp_port,
            username=settings.smtp_username or None,
            password=settings.smtp_password or None,
            use_tls=settings.smtp_security == "tls",
            start_tls=settings.smtp_security == "starttls",
            tls_context=self._tls if settings.smtp_security != "none" else None,
            timeout=self._timeout_seconds,
        )


class FolderMailer:
    """Writes mails as `.eml` files that only the owner can read. Keeps the newest 200."""

    prints_tokens = True

    def __init__(self, folder: Path, sender: str | None) -> None:
        self._folder = folder
        self._sender = sender or _DEFAULT_SENDER

    async def send(self, mail: Mail) -> None:
        """Write a mail."""
        message = mail.to_message(sender=self._sender)
        name = f"{mail.id}_{mail.user_id}.eml"
        try:
            await asyncio.to_thread(self._write, name, message.as_bytes())
        except OSError as error:
            raise Unavailable("The mail folder is not writable.") from error
        log.info("mail.written", template=mail.template.value, file=str(self._folder / name))

    async def erase(self, user_id: UUID) -> None:
        """Delete the files of a user's mails."""
        await asyncio.to_thread(self._erase, user_id)

    def _write(self, name: str, content: bytes) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary = self._folder / f"{name}.new"
        temporary.touch(mode=0o600)
        temporary.write_bytes(content)
        temporary.replace(self._folder / name)
        for old in sorted(self._folder.glob("*.eml"))[:-_MAX_STORED_MAILS]:
            old.unlink(missing_ok=True)

    def _erase(self, user_id: UUID) -> None:
        for file in self._folder.glob(f"*_{user_id}.eml"):
            file.unlink(missing_ok=True)


def _is_permanent(error: Exception) -> bool:
    """Return True for a 5xx reply (RFC 5321 §4.2.1) to the recipient or the content.

    A rejected login, sender or TLS is a matter of settings: an operator can correct it in time.
    """
    match error:
        case aiosmtplib.SMTPRecipientsRefused():
            return all(refused.code >= 500 for refused in error.recipients)
        case aiosmtplib.SMTPDataError():
            return error.code >= 500
    return False


def create_mailer(settings: AuthSettings) -> Mailer | None:
    """Return the mailer that the settings name, or None if mails cannot be delivered."""
    if settings.smtp_host:
        return SmtpMailer(settings)
    if settings.mail_dir is not None:
        return FolderMailer(settings.mail_dir, settings.mail_from)
    log.warning("mail.not_configured")
    return None
