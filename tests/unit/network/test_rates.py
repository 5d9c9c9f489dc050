import pytest
from cribus.errors import InvalidArgument
from cribus.network.rates import bandwidth, quantity


def test_annotations_become_bits() -> None:
    assert bandwidth({"kubernetes.io/ingress-bandwidth": "10M", "other": "x"}) == {
        "ingressRate": 10_000_000,
        "ingressBurst": 0x7FFFFFFF,
    }
    assert bandwidth({}) == {}


@pytest.mark.parametrize(("text", "bits"), [("1", 1), ("1.5k", 1500), ("2Ki", 2048), ("1G", 10**9)])
def test_quantities(text: str, bits: int) -> None:
    assert quantity(text) == bits


@pytest.mark.parametrize("text", ["", "M", "10X", "0", "-5", "1MM"])
def test_wrong_quantities(text: str) -> None:
    with pytest.raises(InvalidArgument):
        quantity(text)
