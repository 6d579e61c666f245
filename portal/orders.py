"""Pages."""

from starlette.routing import BaseRoute

routes: list[BaseRoute] = []
navigation: tuple[tuple[str, str], ...] = ()
