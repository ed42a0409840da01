"""What a server is started with."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from vist2_memory.errors import InvalidInputError
from vist2_memory.serving.keys import Key, Keyring

DEVELOPER = Key("dev", "0" * 64, "default", ("read", "write", "admin"), "100000/minute", 1024)
"""Who everybody is on a server without keys."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """How a server guards itself."""

    keys: Keyring | None = None
    """None: development, for this machine alone."""
    concurrency: int = 8
    """Answers that are generated at once."""
    queue: int = 256
    """Requests that may wait for their turn; more are told to come again."""
    max_body_bytes: int = 32 * 2**20
    drain_s: float = 30.0
    """Seconds that answers in progress are given at the end."""
    cors_origins: tuple[str, ...] = ()
    """Pages of which other sites may call; none unless named."""

    def __post_init__(self) -> None:
        """Raise ``InvalidInputError`` for a value that is not allowed."""
        for name, least in (
            ("concurrency", 1),
            ("queue", 0),
            ("max_body_bytes", 1),
            ("drain_s", 0),
        ):
            if getattr(self, name) < least:
                raise InvalidInputError(
                    f"{name}={getattr(self, name)} is not allowed: {least} or more"
                )


def check_host(host: str, keys: Keyring | None) -> None:
    """Raise ``InvalidInputError`` for a server without ``keys`` that others could reach."""
    if keys is None and not is_loopback(host):
        raise InvalidInputError(
            f"a server without keys listens on this machine alone, not on {host}: give it keys "
            "(vist2 key create, --keys FILE), or --host 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    """Whether ``host`` is this machine, seen from itself only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
