import pytest
from cribus.errors import InvalidArgument
from cribus.executor.runc_cli import options


def test_as_containerd_calls_it() -> None:
    words = "--root /r --log /l --log-format json --systemd-cgroup create --bundle /b --pid-file /p --no-pivot id"
    line = options.parse(words.split())
    assert line.general == {"root": "/r", "log": "/l", "log-format": "json", "systemd-cgroup": True}
    assert (line.command, line.args) == ("create", ["id"])
    assert line.given == {"bundle": "/b", "pid-file": "/p", "no-pivot": True}


def test_what_follows_is_the_programs() -> None:
    line = options.parse(["exec", "-t", "-e", "A=1", "--env=B=2", "id", "ls", "-l", "--all"])
    assert line.given == {"tty": True, "env": ["A=1", "B=2"]}
    assert line.args == ["id", "ls", "-l", "--all"]


def test_short_ones_mean_what_they_mean_there() -> None:
    assert options.parse(["list", "-f", "json"]).given == {"format": "json"}
    assert options.parse(["delete", "-f", "id"]).given == {"force": True}
    assert options.parse(["kill", "--all=false", "id", "-", "x"]).given == {"all": False}
    assert options.parse(["update", "-r", "-", "id"]).given == {"resources": "-"}


@pytest.mark.parametrize("words", ["--nope list", "create --nope id", "create --bundle"])
def test_what_there_is_not(words: str) -> None:
    with pytest.raises(InvalidArgument):
        options.parse(words.split())


def test_no_command() -> None:
    assert options.parse([]).command == "help"
    assert options.parse(["nonsense"]).command == "nonsense"


def test_what_is_taken_and_has_no_effect_is_told() -> None:
    line = options.parse(["create", "--no-pivot", "--preserve-fds", "3", "id"])
    assert options.ignored(line) == ["option --no-pivot is ignored", "option --preserve-fds is ignored"]
    assert options.ignored(options.parse(["create", "--preserve-fds", "0", "id"])) == []
