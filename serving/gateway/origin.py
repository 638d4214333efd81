"""Who may see a page: Host against DNS rebinding, Origin against other sites in the same browser.

Source: OWASP, "Cross-Site Request Forgery Prevention", verifying origin with standard headers.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.requests import Request

from isolation.errors import RequestRefusedError


class HostNotAllowedError(RequestRefusedError):
    """The page was asked for under a name that the operator did not list."""

    code = "host_not_allowed"
    status = 421

    def __init__(self) -> None:
        super().__init__(
            "Pages are not served under this host name. The operator lists names in "
            "BULKHEAD_ALLOWED_HOSTS; loopback names always work."
        )


def require_page_host(request: Request, allowed: Collection[str]) -> None:
    """Let loopback names and the operator's own names through.

    Raises:
        HostNotAllowedError: the name is another, as it is when a foreign DNS name was pointed here.
    """
    name = _host_name(request)
    if not _is_loopback(name) and name not in {host.lower() for host in allowed}:
        raise HostNotAllowedError


def is_own_page_on_loopback(request: Request) -> bool:
    """Whether this is a POST by our own page, in a browser on this very machine.

    All three must hold: the peer's address, the Host it asked for, and the Origin that the browser
    vouches for. A reverse proxy on this machine has the first, and often rewrites the second; the
    third still names the site that the visitor sees.
    """
    peer = request.client.host if request.client else ""
    host = request.headers.get("host", "")
    return (
        _is_loopback(peer)
        and _is_loopback(_host_name(request))
        and request.headers.get("origin", "") == f"http://{host}"
        and request.headers.get("sec-fetch-site", "same-origin") == "same-origin"
    )


def _host_name(request: Request) -> str:
    try:
        return urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
    except ValueError:
        return ""


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
