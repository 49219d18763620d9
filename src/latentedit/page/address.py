"""Addresses to listen at: the loopback address, or others, which need a password."""

import ipaddress

from latentedit.core.errors import ConfigError


def check_host(host: str, password: str) -> None:
    """Refuse an address that other machines can reach without a password."""
    if not (is_loopback(host) or password):
        raise ConfigError(
            f"serving at {host}, which other machines can reach, needs a password. Set LATENTEDIT_APP_PASSWORD, give "
            "a `password`, or use 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
