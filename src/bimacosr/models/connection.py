"""One request over HTTP: what is retried, what is refused, and the sentence for each."""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from email.message import Message
from typing import IO
from urllib.parse import urljoin, urlsplit

from bimacosr.errors import ModelError

__all__ = ["BrokenError", "StaleError", "request"]

_TIMEOUT_S = 30.0
_LONGEST_PAUSE_S = 60.0
_RETRIED = {408, 425, 429}
_GONE = {404, 410}
_STALE = {412, 416}


class BrokenError(Exception):
    """The connection failed in a way that may pass; its text is the reason. Never leaves the room.

    `pause_s` is how long the server asks to wait, in seconds, or None.
    """

    def __init__(self, reason: str, pause_s: float | None = None) -> None:
        super().__init__(reason)
        self.pause_s = pause_s


class StaleError(BrokenError):
    """The rest of what has arrived cannot be had; the next attempt begins anew."""


@contextmanager
def request(address: str, headers: dict[str, str]) -> Iterator[http.client.HTTPResponse]:
    """Ask for `address` and give the answer, of status 200 or 206; proxies as the system says.

    What the network does wrong inside the block is turned into the same errors; so nothing but
    the network belongs inside.

    Raises:
        BrokenError: worth another attempt: no connection, an interruption, 5xx, "try later".
        ModelError: not worth one: "... is not there (404)"; no certificate, an unsafe redirect, a
            web page instead of a file.
    """
    opener = urllib.request.build_opener(_SafeRedirects)
    asked = urllib.request.Request(address, headers={"User-Agent": "bimacosr"} | headers)
    try:
        with closing(opener.open(asked, timeout=_TIMEOUT_S)) as response:
            _check(address, response)
            yield response
    except urllib.error.HTTPError as error:
        error.close()
        raise _judged(address, error) from error
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        if isinstance(reason, ssl.SSLCertVerificationError):
            raise ModelError(
                f"{address} cannot be trusted ({reason.verify_message}): if your network inspects "
                "connections, set SSL_CERT_FILE to its certificates"
            ) from error
        raise BrokenError(_said(reason)) from error


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to something that others can change on its way."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        """See the base class.

        Raises:
            ModelError: from https to anything else, or from http to neither http nor https.
        """
        target = urlsplit(urljoin(req.full_url, newurl)).scheme
        allowed = ("https",) if req.type == "https" else ("http", "https")
        if target not in allowed:
            fp.close()
            raise ModelError(
                f"{req.full_url} leads to an unsafe address ({target}: instead of {req.type}:), "
                "which is not followed; tell whoever runs the server"
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check(address: str, response: http.client.HTTPResponse) -> None:
    if response.status not in (200, 206):
        raise ModelError(f"{address} answers {response.status} instead of a file")
    if response.headers.get_content_type() == "text/html":
        raise ModelError(
            f"{address} answers with a web page instead of a file: log in to your network first, "
            "or check BIMACOSR_MIRROR"
        )
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise ModelError(
            f"{address} answers with a compressed form of the file, which was not asked for; "
            "check BIMACOSR_MIRROR"
        )


def _judged(address: str, error: urllib.error.HTTPError) -> Exception:
    if error.code in _RETRIED or error.code >= 500:
        return BrokenError(f"the server answers {error.code}", _pause(error.headers))
    if error.code in _STALE:
        return StaleError(f"the server answers {error.code}")
    if error.code in _GONE:
        return ModelError(f"{address} is not there ({error.code})")
    if error.code == 407:
        return ModelError(f"the proxy before {address} wants a password (407); check HTTPS_PROXY")
    return ModelError(f"{address} refuses the download ({error.code})")


def _pause(headers: Message) -> float | None:
    """Give the seconds of Retry-After, up to a minute; a date there is not heeded."""
    value = (headers.get("Retry-After") or "").strip()
    return min(float(value), _LONGEST_PAUSE_S) if value.isascii() and value.isdigit() else None


def _said(reason: object) -> str:
    if isinstance(reason, TimeoutError):
        return f"no answer for {_TIMEOUT_S:.0f} s"
    text = " ".join((getattr(reason, "strerror", None) or str(reason)).split())
    return "".join(letter for letter in text if letter.isprintable())[:200] or "no connection"
