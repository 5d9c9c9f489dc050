"""Commands in a running container, by crictl and a real terminal."""

import time

import pytest

from tests.cri import Cri, stream_status
from tests.harness import Node, until
from tests.terminal import terminal


@pytest.mark.parametrize("transport", ["spdy", "websocket"])
def test_a_terminal_has_a_name_and_a_size(clean: Node, transport: str) -> None:
    pod = clean.pod("terminal")
    container = clean.container(pod, "terminal", "sleep", "1000")
    with terminal(clean.argv("exec", "-it", "-r", transport, container, "sh"), size=(101, 33)) as shown:
        shown.until("# ")
        shown.type("tty\n")
        shown.until(r"/dev/pts/\d+\r\n")
        shown.type("test -c $(tty) && echo is a $((40 + 2))\n")
        shown.until("is a 42")
        shown.type("stty size\n")
        shown.until("33 101\r\n")
        # A shell of its own is one job: between two of an interactive shell ^C goes to the one that is over.
        shown.type("sh -c 'while :; do stty size; sleep 0.1; done'\n")
        shown.resize(90, 20)
        shown.until("20 90\r\n")
        shown.type("\x03")
        shown.until("# ")
        shown.type("exit 7\n")
        shown.until("exit code 7")
        assert shown.exited() != 0
    clean.crictl("rmp", "-f", pod)


def test_what_a_container_puts_in_place_of_a_terminal_is_not_opened(clean: Node) -> None:
    pod = clean.pod("hostile", linux={"security_context": {"privileged": True}})
    mask = "mount -t tmpfs none /dev/pts && mkfifo /dev/pts/ptmx && echo masked && exec sleep 1000"
    container = clean.container(pod, "hostile", "sh", "-c", mask, linux={"security_context": {"privileged": True}})
    with terminal(clean.argv("exec", "-it", container, "sh")) as shown:
        began = time.monotonic()
        shown.until("# ")
        shown.type("stty size; ls -l /dev/pts\n")
        shown.until("24 80\r\n")
        shown.until(r"prw.* ptmx")
        shown.type("exit\n")
        assert shown.exited() == 0
        assert time.monotonic() - began < 20
    clean.crictl("rmp", "-f", pod)


def test_whoever_runs_it_may_open_its_streams_again(clean: Node) -> None:
    pod = clean.pod("owner")
    user = {"linux": {"security_context": {"run_as_user": {"value": 1000}}}}
    script = "echo out > /dev/stdout; echo err > /dev/stderr; exec sleep 1000"
    container = clean.container(pod, "owner", "sh", "-c", script, **user)
    until(lambda: sorted(clean.log_lines(container)) == ["err", "out"], 5, "both lines are logged")
    assert clean.crictl("exec", "-s", container, "sh", "-c", "id -u; echo said > /dev/stdout") == "1000\nsaid"
    with terminal(clean.argv("exec", "-it", container, "sh")) as shown:
        shown.until(r"\$ ")
        shown.type("echo mine $((40 + 2)) > $(tty)\n")
        shown.until("mine 42")
        shown.type("exit\n")
        assert shown.exited() == 0
    clean.crictl("rmp", "-f", pod)


@pytest.mark.parametrize(
    ("out", "err"),
    [(20 << 20, 0), (0, 20 << 20), (20 << 20, 1000), (9 << 20, 9 << 20)],
    ids=["all on one", "all on the other", "a word on the other", "both"],
)
def test_more_than_an_answer_holds_is_cut_without_an_error(cri: Cri, out: int, err: int) -> None:
    box = cri.pod().running()
    script = f"head -c {out} /dev/zero; head -c {err} /dev/zero >&2; exit 7"
    seen = cri.call("ExecSync", container_id=box, cmd=["sh", "-c", script], timeout=30)
    assert seen.exit_code == 7
    assert (16 << 20) - 100 < len(seen.stdout) + len(seen.stderr) < 16 << 20
    assert min(len(seen.stdout), len(seen.stderr)) >= min(out, err, (8 << 20) - 64)


def test_a_command_that_takes_too_long_is_killed_with_what_it_started(cri: Cri) -> None:
    pod = cri.pod()
    box = pod.running()
    code, text = cri.refused("ExecSync", container_id=box, cmd=["sh", "-c", "sleep 4711 & sleep 4712"], timeout=1)
    assert code == "DEADLINE_EXCEEDED"
    assert "1 s" in text
    until(lambda: "471" not in pod.says(box, "ps"), 5, "both are gone")


def test_an_address_opens_once(cri: Cri) -> None:
    box = cri.pod().running()
    urls = [cri.call("Exec", container_id=box, cmd=["sleep", "1"], stdout=True).url for _ in range(2)]
    assert len(urls[0].rsplit("/", 1)[1]) >= 43  # 256 bits
    assert [stream_status(urls[0]) for _ in range(2)] == ["101", "404"]
    assert stream_status(urls[1][:-1] + ("a" if urls[1][-1] != "a" else "b")) == "404"
    assert stream_status(urls[1]) == "101"
