"""The last word of a remote command on its error lane: metav1.Status as JSON from v4 on, text before."""

import json


def ended(version: int, code: int, message: str = "") -> bytes:
    """The process ended with `code`. v1 to v3 say nothing about a success."""
    text = message or f"command terminated with exit code {code}"
    if version < 4:
        return b"" if code == 0 else text.encode()
    if code == 0:
        return _packed({"metadata": {}, "status": "Success"})
    return _packed(
        {
            "metadata": {},
            "status": "Failure",
            "reason": "NonZeroExitCode",
            "message": text,
            "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
        }
    )


def failed(version: int, message: str) -> bytes:
    """The command could not be run, or its end is not known."""
    if version < 4:
        return message.encode()
    return _packed({"metadata": {}, "status": "Failure", "reason": "InternalError", "message": message, "code": 500})


def _packed(status: dict[str, object]) -> bytes:
    return json.dumps(status, separators=(",", ":")).encode()
