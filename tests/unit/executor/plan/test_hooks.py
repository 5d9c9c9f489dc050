from cribus.executor.plan import hooks

SPEC = {
    "ociVersion": "1.3.0",
    "annotations": {"a": "b"},
    "hooks": {
        "createRuntime": [{"path": "/b", "args": ["b", "1"], "env": ["X=y=z"], "timeout": 5}],
        "prestart": [{"path": "/a"}],
        "poststop": [{"path": "/c"}],
        "startContainer": None,
    },
}


def test_in_order_and_complete() -> None:
    assert hooks.of(SPEC, *hooks.BEFORE) == [
        ["prestart", "/a", ["/a"], {}, 0],
        ["createRuntime", "/b", ["b", "1"], {"X": "y=z"}, 5],
    ]
    assert hooks.of(SPEC, *hooks.INSIDE) == hooks.of({}, "prestart") == hooks.of({"hooks": None}, "prestart") == []


def test_for_which_the_document_is_read_again() -> None:
    assert hooks.later(SPEC) == ["poststop"]
    assert hooks.later({}) == []


def test_what_does_not_change() -> None:
    assert hooks.base(SPEC, "c", "/run/c") == {
        "ociVersion": "1.3.0", "id": "c", "bundle": "/run/c", "annotations": {"a": "b"},
    }  # fmt: skip
