"""Who can reach an address: this machine alone, or others, who then have to know a password."""

import ipaddress

from latentedit.core.errors import ConfigError


def check_host(host: str, password: str) -> None:
    """Refuse a page that others can reach without a password.

    Raises:
        ConfigError: it is such a page.
    """
    if not (is_loopback(host) or password):
        raise ConfigError(
            f"at {host} others can reach the page, which then needs a password. Give a `password`, set "
            "LATENTEDIT_APP_PASSWORD, or stay at 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"
