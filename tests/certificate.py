"""A certificate for localhost and 127.0.0.1, its own authority, and its key: for tests of TLS. Good until 2126."""

from pathlib import Path

CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBmzCCAUGgAwIBAgIUWUnCoY2X4Mpl6hAeKyo590hvhqYwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyNTAzNDU0MloYDzIxMjYxMTAx
MDM0NTQyWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAAT1koxQ//vZth9AQAZmEuq2jQq3F3dZAyTXhYdYWfseCINfXBPGkhw4
Fqqa5lwrCQ7/gkRDEYFY0CsJrW1esg99o28wbTAdBgNVHQ4EFgQUeyH5PSIUBcfQ
L4mc+GunKNnOHFowHwYDVR0jBBgwFoAUeyH5PSIUBcfQL4mc+GunKNnOHFowDwYD
VR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgglsb2NhbGhvc3SHBH8AAAEwCgYIKoZI
zj0EAwIDSAAwRQIhALFiypFeJ/bcm9190q5kNLdCP8qRhXTWIKuCIUpklZS3AiBu
glUgueTmwIhKDmqOpxi/EP5s5rQBJAZnfUJqNvwfeg==
-----END CERTIFICATE-----
"""
KEY = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgnxSP6j4o/Pg0PnJe
YrDCRIFz9ueKnOOLQ71hwnQy+zehRANCAAT1koxQ//vZth9AQAZmEuq2jQq3F3dZ
AyTXhYdYWfseCINfXBPGkhw4Fqqa5lwrCQ7/gkRDEYFY0CsJrW1esg99
-----END PRIVATE KEY-----
"""


def certificate_in(folder: Path) -> tuple[Path, Path]:
    """The two as files."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certificate.write_text(CERTIFICATE)
    key.write_text(KEY)
    return certificate, key
