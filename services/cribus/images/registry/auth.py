"""Proving to a registry who asks: Basic, or a Bearer token from the realm that a 401 names.

Source: distribution-spec and distribution's token authentication specification.
"""

import base64
import binascii
import re

import httpx

from cribus.api.cri.image import AuthConfig
from cribus.errors import InvalidArgument, Unauthenticated
from cribus.images.registry.mirrors import Endpoint
from cribus.oci import distribution_spec

_CHALLENGE = re.compile(r'(?:^|(?<=[\s,]))(basic|bearer)\s+((?:\w+=(?:"[^"]*"|[^\s,]+)(?:,\s*)?)*)', re.IGNORECASE)
_PARAMETER = re.compile(r'(\w+)=(?:"([^"]*)"|([^\s,]+))')
_HUB = ("docker.io", "index.docker.io", "registry-1.docker.io")


def basic(config: AuthConfig | None) -> tuple[str, str]:
    """User and password of CRI's AuthConfig. Raises InvalidArgument for an `auth` that is not base64."""
    if config is None:
        return "", ""
    if config.username or not config.auth:
        return config.username, config.password
    try:
        user, _, password = base64.b64decode(config.auth, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise InvalidArgument("AuthConfig.auth is not the base64 of user:password") from error
    return user, password.rstrip("\0")


def meant_for(config: AuthConfig | None, host: str) -> AuthConfig | None:
    """The credentials, unless they name another registry than `host`."""
    if config is None or not config.server_address:
        return config
    server = config.server_address.split("://")[-1].split("/")[0]
    same = server == host or (server in _HUB and host in _HUB)
    return config if same else None


def challenges(header: str) -> dict[str, dict[str, str]]:
    """A WWW-Authenticate header: scheme → parameters."""
    return {
        found[1].lower(): {name: quoted or bare for name, quoted, bare in _PARAMETER.findall(found[2])}
        for found in _CHALLENGE.finditer(header)
    }


class Authorization:
    """The Authorization header for one endpoint and repository; learns from challenges."""

    def __init__(self, config: AuthConfig | None, http: httpx.Client, endpoint: Endpoint) -> None:
        self._config = config
        self._user, self._password = basic(config)
        self._http = http
        self._endpoint = endpoint
        self.header = f"Bearer {config.registry_token}" if config and config.registry_token else ""

    def challenged(self, header: str, scope: str) -> None:
        """Answer a 401. Raises Unauthenticated when there is nothing new to try."""
        asked = challenges(header)
        before = self.header
        if "realm" in asked.get("bearer", {}):
            self.header = "Bearer " + self._token(asked["bearer"], scope)
        elif "basic" in asked and self._user:
            self.header = "Basic " + base64.b64encode(f"{self._user}:{self._password}".encode()).decode()
        if self.header == before:
            what = "refuses these credentials" if self._user or before else "wants credentials"
            raise Unauthenticated(f"the registry {self._endpoint.base} {what}; give user and password with the pull")

    def _token(self, parameters: dict[str, str], scope: str) -> str:
        realm = parameters["realm"]
        if self._endpoint.base.startswith("https:") and not realm.startswith("https:"):
            raise Unauthenticated(
                f"the registry {self._endpoint.base} wants the password sent in the clear, to {realm}"
            )
        answer = self._asked(realm, {"service": parameters.get("service", ""), "scope": parameters.get("scope", scope)})
        if answer.status_code != 200:
            raise Unauthenticated(f"the token service {realm} answers {answer.status_code}; check the credentials")
        try:
            body: distribution_spec.Token = answer.json()
            token = body.get("token") or body.get("access_token")
        except (ValueError, AttributeError) as error:
            raise Unauthenticated(f"the token service {realm} answers no JSON object") from error
        if not token:
            raise Unauthenticated(f"the token service {realm} gave no token")
        return str(token)

    def _asked(self, realm: str, query: dict[str, str]) -> httpx.Response:
        if self._config and self._config.identity_token:
            grant = {"grant_type": "refresh_token", "refresh_token": self._config.identity_token}
            return self._http.post(realm, data={**query, **grant, "client_id": "cribus"})
        return self._http.get(realm, params=query, auth=(self._user, self._password) if self._user else None)
