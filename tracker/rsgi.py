"""The edge as an RSGI application, for Granian: where HTTP/2 is wanted."""

import asyncio
from typing import Any

from core.errors import BadInput
from tracker.edge import DRAIN_FACTOR, Edge
from tracker.hit import TEXT_HEADERS, Proxies, read_hit


class RsgiTracker:
    """One per process. ``scope`` and ``protocol`` are Granian's (github.com/emmett-framework/granian, docs/spec/RSGI.md)."""

    def __init__(self, edge: Edge, proxies: Proxies) -> None:
        self._edge = edge
        self._proxies = proxies

    async def __rsgi__(self, scope: Any, protocol: Any) -> None:
        if scope.proto != "http":
            protocol.close(404)
            return
        hit = read_hit(scope.method, scope.path, scope.query_string, _headers(scope), scope.client, scope.scheme, self._proxies)

        met = self._edge.meet(hit)
        if met is not None:
            answer = await self._edge.keep(*met)
        else:

            async def body(most_bytes: int) -> bytes | None:
                return await _read_body(protocol, most_bytes)

            # A task, because a body that does not come is given up by cancelling one.
            answer = await asyncio.create_task(self._edge.answer(hit, body))
        if answer.body:
            protocol.response_bytes(answer.status, answer.headers, answer.body)
        else:
            protocol.response_empty(answer.status, answer.headers)


def _headers(scope: Any) -> list[tuple[str, str | None]]:
    """All headers; a text that is not printable ASCII is named but cannot be read through this interface."""
    headers = scope.headers
    found: list[tuple[str, str | None]] = headers.items()
    readable = dict(found)
    for name in TEXT_HEADERS:
        if name not in readable and name in headers:
            found.append((name, None))
    return found


async def _read_body(protocol: Any, most_bytes: int) -> bytes | None:
    content, length = bytearray(), 0
    try:
        async for chunk in protocol:
            length += len(chunk)
            if length <= most_bytes:
                content += chunk
            elif length > most_bytes * DRAIN_FACTOR:
                break
    except RuntimeError:  # Granian's ProtocolError and ProtocolClosed
        raise BadInput("malformed", "the body ended early") from None
    return bytes(content) if length <= most_bytes else None
