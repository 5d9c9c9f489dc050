from tests.unit.cli.story.tales import APP, POD, story


def test_ids_are_those_of_the_pod_and_its_containers() -> None:
    assert story().ids() == {POD, APP}
    assert story(pod="").ids() == {APP}
