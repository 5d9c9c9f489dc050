"""Every error that can cross the bus. A class's `code` is the name of a gRPC status.

CribusError
├── InvalidArgument     the request is wrong; nothing was changed
├── NotFound            no such pod, container or image
├── AlreadyExists       a name is taken
├── FailedPrecondition  right request, wrong state (start a running container)
├── PermissionDenied    a registry or the kernel refuses
├── Unauthenticated     a registry wants credentials
├── ResourceExhausted   disk, addresses, descriptors
├── DeadlineExceeded    unknown whether it happened: repeat with the same request id
├── Cancelled           the caller went away
├── Aborted             another operation won; repeat
├── Unavailable         nothing ran: repeat freely
├── Unimplemented       the kernel or host lacks the feature
├── DataLoss            bytes that fail their digest
├── Unknown             a code that this version does not know
└── Internal            a defect of ours
"""


class CribusError(Exception):
    """An error a client may see: a sentence that says what was wrong and what to do."""

    code = "UNKNOWN"

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidArgument(CribusError):
    code = "INVALID_ARGUMENT"


class NotFound(CribusError):
    code = "NOT_FOUND"


class AlreadyExists(CribusError):
    code = "ALREADY_EXISTS"


class FailedPrecondition(CribusError):
    code = "FAILED_PRECONDITION"


class PermissionDenied(CribusError):
    code = "PERMISSION_DENIED"


class Unauthenticated(CribusError):
    code = "UNAUTHENTICATED"


class ResourceExhausted(CribusError):
    code = "RESOURCE_EXHAUSTED"


class DeadlineExceeded(CribusError):
    code = "DEADLINE_EXCEEDED"


class Cancelled(CribusError):
    code = "CANCELLED"


class Aborted(CribusError):
    code = "ABORTED"


class Unavailable(CribusError):
    code = "UNAVAILABLE"


class Unimplemented(CribusError):
    code = "UNIMPLEMENTED"


class DataLoss(CribusError):
    code = "DATA_LOSS"


class Unknown(CribusError):
    code = "UNKNOWN"


class Internal(CribusError):
    code = "INTERNAL"


_BY_CODE: dict[str, type[CribusError]] = {kind.code: kind for kind in CribusError.__subclasses__()}


def from_code(code: str, message: str) -> CribusError:
    """The error that a peer reported, as its own class; `Unknown` for a code from a newer version."""
    return _BY_CODE.get(code, Unknown)(message)
