"""Kubernetes' bandwidth annotations as CNI's capability: bits a second from quantities such as 10M."""

from cribus.errors import InvalidArgument

_BURST = 0x7FFFFFFF  # bits; what containerd and CRI-O pass: as much as the plugin takes
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "P": 10**15, "E": 10**18}
_UNITS |= {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60}


def bandwidth(annotations: dict[str, str]) -> dict[str, int]:
    """{ingressRate, ingressBurst, egressRate, egressBurst} of kubernetes.io/{ingress,egress}-bandwidth."""
    wanted: dict[str, int] = {}
    for way in ("ingress", "egress"):
        text = annotations.get(f"kubernetes.io/{way}-bandwidth")
        if text:
            wanted[f"{way}Rate"] = quantity(text)
            wanted[f"{way}Burst"] = _BURST
    return wanted


def quantity(text: str) -> int:
    """A Kubernetes quantity of at least 1. Raises InvalidArgument."""
    number = text.rstrip("kKMGTPEi")
    unit = text[len(number) :]
    try:
        value = int(float(number) * _UNITS[unit])
    except (ValueError, KeyError) as error:
        raise InvalidArgument(f"bandwidth {text!r} is no quantity: write for instance 10M") from error
    if value < 1:
        raise InvalidArgument(f"bandwidth {text!r} must be at least 1 bit a second")
    return value
