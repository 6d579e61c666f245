"""The edge as an ASGI application, for uvicorn or any other ASGI server: the same bytes in, the same bytes out."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from core.errors import BadInput
from tracker.edge import DRAIN_FACTOR, Edge
from tracker.hit import Proxies, hit_of, read_headers

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class AsgiTracker:
    """One per process. Run the server without its own reading of ``X-Forwarded-For``: that is the edge's, by its setting."""

    def __init__(self, edge: Edge, proxies: Proxies) -> None:
        self._edge = edge
        self._proxies = proxies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        hit = hit_of(
            scope["method"],
            scope["path"],
            scope["query_string"].decode("utf-8", "replace"),
            read_headers(scope["headers"]),
            scope["client"][0] if scope.get("client") else "",
            scope["scheme"],
            self._proxies,
        )
        met = self._edge.meet(hit)
        if met is not None:
            answer = await self._edge.keep(*met)
        else:

            async def body(most_bytes: int) -> bytes | None:
                return await _read_body(receive, most_bytes)

            answer = await self._edge.answer(hit, body)
        headers = [(name.encode("ascii"), value.encode("ascii")) for name, value in answer.headers]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})


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
