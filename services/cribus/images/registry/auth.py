"""Proving to a registry who asks: Basic, or a Bearer token from the realm that a 401 names.

Source: distribution-spec and distribution's token authentication specification.
"""

import base64
import binascii
import re
from collections.abc import Callable

import httpx

from cribus.api.cri.image import AuthConfig
from cribus.errors import InvalidArgument, Unauthenticated

_PARAMETER = re.compile(r'(\w+)="([^"]*)"')


def basic(config: AuthConfig | None) -> tuple[str, str]:
    """User and password of CRI's AuthConfig. Raises InvalidArgument for an `auth` that is not base64."""
    if config is None:
        return "", ""
    if config.auth:
        try:
            user, _, password = base64.b64decode(config.auth, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise InvalidArgument("AuthConfig.auth is not the base64 of user:password") from error
        return user, password.rstrip("\0")
    return config.username, config.password


class Authorization:
    """The Authorization header for one registry and repository; learns from challenges."""

    def __init__(self, config: AuthConfig | None, get: Callable[..., httpx.Response]) -> None:
        self._config = config
        self._user, self._password = basic(config)
        self._get = get
        self.header = f"Bearer {config.registry_token}" if config and config.registry_token else ""

    def challenged(self, challenge: str, scope: str) -> None:
        """Answer a 401. Raises Unauthenticated when there is nothing new to try."""
        kind, _, rest = challenge.partition(" ")
        parameters = dict(_PARAMETER.findall(rest))
        before = self.header
        if kind.lower() == "basic" and self._user:
            self.header = "Basic " + base64.b64encode(f"{self._user}:{self._password}".encode()).decode()
        elif kind.lower() == "bearer" and "realm" in parameters:
            self.header = "Bearer " + self._token(parameters, scope)
        if self.header == before:
            raise Unauthenticated("the registry wants credentials; give user and password with the pull")

    def _token(self, parameters: dict[str, str], scope: str) -> str:
        query = {"service": parameters.get("service", ""), "scope": parameters.get("scope", scope)}
        if self._config and self._config.identity_token:
            form = {"grant_type": "refresh_token", "refresh_token": self._config.identity_token, "client_id": "cribus"}
            answer = httpx.post(parameters["realm"], data={**query, **form}, timeout=30)
        else:
            login = (self._user, self._password) if self._user else None
            answer = self._get(parameters["realm"], params=query, auth=login)
        if answer.status_code != 200:
            raise Unauthenticated(
                f"the token service {parameters['realm']} answers {answer.status_code}; check the credentials"
            )
        body = answer.json()
        token = body.get("token") or body.get("access_token")
        if not token:
            raise Unauthenticated(f"the token service {parameters['realm']} gave no token")
        return str(token)
