"""The baseline of ``benchmarks.redirect``: a Starlette redirect that records nothing."""

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import RedirectResponse
from starlette.routing import Route


async def click(request: Request) -> RedirectResponse:
    return RedirectResponse(f"https://shop.example/?code={request.path_params['code']}", 302)


async def health(_request: Request) -> RedirectResponse:
    return RedirectResponse("/", 302)


app = Starlette(routes=[Route("/c/{code}", click), Route("/health", health)])
