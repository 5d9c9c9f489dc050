"""Which extended attributes of a layer's entries are kept.

An image may give its programs capabilities, ACLs and notes of its users. It may not speak to the kernel
of this node: `trusted.*` is what overlayfs is steered by, labels and signatures are the node's policy.
"""

import errno
import os

_KEPT = ("user.", "security.capability", "system.posix_acl_access", "system.posix_acl_default")
_STEERING = "user.overlay."


def kept(key: str) -> bool:
    return key.startswith(_KEPT) and not key.startswith(_STEERING)


def apply(target: int | str, attributes: dict[str, bytes]) -> None:
    """Set what is kept, on a descriptor or on a path whose last part may be a link. Raises OSError."""
    for key, value in attributes.items():
        if kept(key):
            try:
                os.setxattr(target, key, value, **({} if isinstance(target, int) else {"follow_symlinks": False}))
            except OSError as error:
                if error.errno not in (errno.ENOTSUP, errno.EPERM):  # EPERM: user.* on a link or a device
                    raise


def copy(source: int, target: int) -> None:
    """Those of one directory to another. Raises OSError."""
    apply(target, {key: os.getxattr(source, key) for key in os.listxattr(source) if kept(key)})
