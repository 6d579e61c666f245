"""Security headers on every answer, so that a fault in one page cannot become a fault of the site."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
)
YEAR_S = 31_536_000


def secure(headers: MutableHeaders, *, https: bool) -> None:
    """Put the site's security headers on an answer. Pages are private: nothing but ``/static`` may be kept by a cache."""
    headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    headers["X-Content-Type-Options"] = "nosniff"
    headers["Referrer-Policy"] = "same-origin"
    headers["Permissions-Policy"] = "camera=(), geolocation=(), microphone=()"
    headers["Cross-Origin-Opener-Policy"] = "same-origin"
    headers.setdefault("Cache-Control", "no-store")
    if https:
        headers["Strict-Transport-Security"] = f"max-age={YEAR_S}; includeSubDomains"


class SecurityHeaders:
    """ASGI middleware around the whole site; :func:`secure` says which headers."""

    def __init__(self, app: ASGIApp, https: bool) -> None:
        self.app = app
        self.https = https

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                secure(MutableHeaders(scope=message), https=self.https)
            await send(message)

        await self.app(scope, receive, send_secured)
