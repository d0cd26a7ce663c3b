"""The mail server that mail is handed to, as GIGACHAT_SMTP_URL names it; by the standard library, in a thread.

Invariant: a password goes over an encrypted connection, or to this machine itself. What the server says decides what follows: a
recipient or a mail that it refuses for good is refused again tomorrow, anything else may be different in a minute.
"""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from urllib.parse import unquote, urlsplit

import msgspec

from gigachat_server.errors import SetupError

_TIMEOUT_S = 15.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class MailRefused(Exception):
    """The server does not take this mail, now or later."""


class MailServerAway(Exception):
    """The server could not be reached, or has no time, or does not let us in."""


class MailServer(msgspec.Struct, frozen=True):
    host: str
    port: int
    is_encrypted: bool  # from the first byte on, rather than by STARTTLS
    user: str
    password: str

    @classmethod
    def parse(cls, url: str) -> MailServer:
        """Raises `SetupError`."""
        wrong = "GIGACHAT_SMTP_URL must be smtp://host:587 or smtps://host, with user:password@ before the host if it needs them."
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise SetupError(wrong) from None
        if parts.scheme not in ("smtp", "smtps") or not host or parts.path not in ("", "/") or parts.query or parts.fragment:
            raise SetupError(wrong)
        is_encrypted = parts.scheme == "smtps"
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        return cls(host, port or (465 if is_encrypted else 587), is_encrypted, user, password)

    def send(self, mail: EmailMessage, *, sender: str, recipient: str) -> None:
        """On return, the server has taken it. Blocks. Raises `MailRefused`, `MailServerAway`."""
        try:
            with self._connected(sender.rpartition("@")[2]) as connection:
                connection.send_message(mail, from_addr=sender, to_addrs=[recipient])
        except smtplib.SMTPRecipientsRefused as error:
            code, said = next(iter(error.recipients.values()))
            raise _refusal(code, said) from error
        except smtplib.SMTPDataError as error:
            raise _refusal(error.smtp_code, error.smtp_error) from error
        except smtplib.SMTPNotSupportedError as error:
            raise MailRefused(str(error)) from error
        except (smtplib.SMTPException, OSError) as error:
            raise MailServerAway(f"{type(error).__name__}: {error}") from error

    def _connected(self, own_name: str) -> smtplib.SMTP:
        """`own_name` is said in greeting: to look this machine's own up could take as long as a name server likes."""
        context = ssl.create_default_context()
        if self.is_encrypted:
            connection: smtplib.SMTP = smtplib.SMTP_SSL(self.host, self.port, own_name, timeout=_TIMEOUT_S, context=context)
        else:
            connection = smtplib.SMTP(self.host, self.port, own_name, timeout=_TIMEOUT_S)
        try:
            connection.ehlo_or_helo_if_needed()
            if not self.is_encrypted and connection.has_extn("starttls"):
                connection.starttls(context=context)
            elif not self.is_encrypted and self.user and self.host not in _LOOPBACK:
                raise smtplib.SMTPNotSupportedError("The server offers no encryption, so the password is not sent to it.")
            if self.user:
                connection.login(self.user, self.password)
        except smtplib.SMTPNotSupportedError as error:
            connection.close()
            raise MailServerAway(str(error)) from error
        except BaseException:
            connection.close()
            raise
        return connection


def _refusal(code: int, said: bytes | str) -> MailRefused | MailServerAway:
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return (MailRefused if 500 <= code < 600 else MailServerAway)(f"{code} {text}")
