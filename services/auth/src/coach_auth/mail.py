"""Build mails from the templates in `templates/`, as text and HTML."""

from dataclasses import dataclass
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from functools import cache
from html import escape
from importlib.resources import files
from string import Template
from uuid import UUID

from email_validator import validate_email

from coach_auth.domain import MailTemplate, QueuedMail

_LINK_PATHS = {
    MailTemplate.PASSWORD_RESET: "reset-password",
    MailTemplate.EMAIL_VERIFICATION: "verify-email",
    MailTemplate.EMAIL_CHANGED: "undo-email-change",
}


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail to send. `id` is the same at each attempt and becomes the Message-ID."""

    id: UUID
    template: MailTemplate
    user_id: UUID
    recipient: str
    subject: str
    text: str
    html: str

    def to_message(self, *, sender: str) -> EmailMessage:
        """Return the MIME message."""
        recipient = validate_email(self.recipient, check_deliverability=False)
        message = EmailMessage(policy=SMTP)
        message["From"] = sender
        message["To"] = Address(username=recipient.local_part, domain=recipient.ascii_domain)
        message["Subject"] = self.subject
        message["Date"] = format_datetime(self._created_at)
        message["Message-ID"] = f"<{self.id}@{message['From'].addresses[0].domain or 'localhost'}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(self.text)
        message.add_alternative(self.html, subtype="html")
        return message

    @property
    def _created_at(self) -> datetime:
        # The first 48 bits of a UUIDv7 are its time in milliseconds.
        return datetime.fromtimestamp((self.id.int >> 80) / 1000, UTC)


def render(
    queued: QueuedMail, *, user_id: UUID, recipient: str, token: str, app_url: str | None
) -> Mail:
    """Return the mail with its token, as a link if the app's URL is known, else as a code."""
    if app_url:
        # The fragment of a link is not sent to web servers, so the token is in no access log.
        link = f"{app_url.rstrip('/')}/{_LINK_PATHS[queued.template]}#token={token}"
        text = f"Open this link:\n\n{link}"
        html = f'<p>Open this link:</p>\n<p><a href="{escape(link)}">{escape(link)}</a></p>'
    else:
        text = f"Enter this code in the app:\n\n{token}"
        html = f"<p>Enter this code in the app:</p>\n<p><code>{token}</code></p>"
    subject, _, body = _load(f"{queued.template}.txt").partition("\n\n")
    return Mail(
        id=queued.id,
        template=queued.template,
        user_id=user_id,
        recipient=recipient,
        subject=subject.removeprefix("Subject: "),
        text=Template(body).substitute(instructions=text),
        html=Template(_load(f"{queued.template}.html")).substitute(instructions=html),
    )


@cache
def _load(name: str) -> str:
    return (files("coach_auth") / "templates" / name).read_text("utf-8")
