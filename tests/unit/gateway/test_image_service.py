"""Every method of ImageService is there, and a pull may take its time."""

from cribus.api.cri.sandbox import PullImageRequest
from cribus.gateway import image_service
from cribus.gateway.cri import api_pb2
from cribus.gateway.method import Unary

from tests.unit.gateway.stand import Calls


def test_all_methods() -> None:
    methods = image_service.methods(Calls({}))
    wire = api_pb2.DESCRIPTOR.services_by_name["ImageService"].methods
    assert set(methods) == {method.name for method in wire}
    for method in wire:
        assert methods[method.name].request.__name__ == method.input_type.name
        assert methods[method.name].answer.__name__ == method.output_type.name


def test_a_pull_is_patient() -> None:
    pull = image_service.methods(Calls({}))["PullImage"]
    assert isinstance(pull, Unary)
    assert pull.patience(PullImageRequest()) == image_service.PULL_PATIENCE
