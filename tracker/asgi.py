"""The edge as an ASGI application, for uvicorn or any other ASGI server: the same bytes in, the same bytes out."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from core.errors import BadInput
from tracker.edge import DRAIN_FACTOR, Edge
from tracker.hit import Proxies, read_hit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_TEXTS = (b"user-agent", b"referer", b"cookie")


class AsgiTracker:
    """One per process. Run the server without its own reading of ``X-Forwarded-For``: that is the edge's, by its setting."""

    def __init__(self, edge: Edge, proxies: Proxies) -> None:
        self._edge = edge
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        hit = read_hit(
            method=scope["method"],
            path=scope["path"],
            query=scope["query_string"].decode("utf-8", "replace"),
            headers=_headers(scope["headers"]),
            peer=scope["client"][0] if scope.get("client") else "",
            scheme=scope["scheme"],
            proxies=self._proxies,
        )

        async def body(most_bytes: int) -> bytes | None:
            return await _read_body(receive, most_bytes)

        answer = await self._edge.answer(hit, body)
        headers = [(name.encode("ascii"), value.encode("ascii")) for name, value in answer.headers]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})


def _headers(raw: list[tuple[bytes, bytes]]) -> list[tuple[str, str | None]]:
    """As RSGI servers read them: printable ASCII only; of other values, only that there was one."""
    found: list[tuple[str, str | None]] = []
    for name, value in raw:
        text = value.decode("latin-1").strip()
        if text.isascii() and (text.isprintable() or text.replace("\t", " ").isprintable()):
            found.append((name.decode("latin-1"), text))
        elif name in _TEXTS:
            found.append((name.decode("latin-1"), None))
    return found


async def _read_body(receive: Receive, most_bytes: int) -> bytes | None:
    content, length, more = bytearray(), 0, True
    while more and length <= most_bytes * DRAIN_FACTOR:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise BadInput("malformed", "the body ended early")
        chunk = message.get("body", b"")
        length += len(chunk)
        if length <= most_bytes:
            content += chunk
        more = message.get("more_body", False)
    return bytes(content) if length <= most_bytes else None
