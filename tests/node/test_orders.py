"""1,000 random orders of calls, some given up by their client and made again, against a model: from every
state every call does what it must, ends in one object, and stop and remove succeed.

CRIBUS_SEED=<n> plays one of them again.
"""

import os
import random
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from tests.cri import Cri
from tests.harness import IMAGE

ORDERS, WORKERS, LENGTH = 1000, 4, 6
SEED = int(os.environ.get("CRIBUS_SEED", random.randrange(1 << 30)))
OK = "OK"
BOXES = ("a", "b")
CALLS = (
    ("RunPodSandbox", ""),
    ("StopPodSandbox", ""),
    ("RemovePodSandbox", ""),
    *(
        (call, box)
        for call in ("CreateContainer", "StartContainer", "StopContainer", "RemoveContainer")
        for box in BOXES
    ),
)
# How often each call is in an order: enough life for the others to find something.
_WEIGHTS = {"RunPodSandbox": 5, "CreateContainer": 5, "StartContainer": 5, "StopPodSandbox": 1, "RemovePodSandbox": 1}
GIVEN_UP = 0.25


class Model:
    """What must be true of one pod and its containers. States: absent, ready, notready; absent, created, running,
    exited. An id that is gone is kept: stopping and removing it again must succeed."""

    def __init__(self, name: str) -> None:
        self.pod = "absent"
        self.boxes = dict.fromkeys(BOXES, "absent")
        self.ids = {"": "f" * 64, **{box: f"{number + 1:064x}" for number, box in enumerate(BOXES)}}
        self.config: dict[str, Any] = {
            "metadata": {"name": name, "uid": name, "namespace": "orders"},
            # no network and no log of its own: thousands of pods, and what is asked here are orders
            "linux": {"security_context": {"namespace_options": {"network": "NODE"}}},
        }

    def expected(self, call: str, box: str) -> str:
        state = self.boxes.get(box, "")
        if call == "RunPodSandbox":
            used = self.pod == "notready" or {*self.boxes.values()} != {"absent"}
            return "ALREADY_EXISTS" if self.pod != "absent" and used else OK
        if call == "CreateContainer":
            if self.pod != "ready":
                return "NOT_FOUND" if self.pod == "absent" else "FAILED_PRECONDITION"
            return OK if state in ("absent", "created") else "ALREADY_EXISTS"
        if call == "StartContainer":
            if state == "absent":
                return "NOT_FOUND"
            return OK if (self.pod, state) == ("ready", "created") or state == "running" else "FAILED_PRECONDITION"
        return OK

    def request(self, call: str, box: str) -> dict[str, Any]:
        if call == "RunPodSandbox":
            return {"config": self.config}
        if call == "CreateContainer":
            config = {
                "metadata": {"name": box},
                "image": {"image": IMAGE},
                "command": ["sleep", "1000"],
                "linux": self.config["linux"],
            }
            return {"pod_sandbox_id": self.ids[""], "config": config, "sandbox_config": self.config}
        return {"container_id" if box else "pod_sandbox_id": self.ids[box]}

    def done(self, call: str, box: str, answer: Any) -> None:
        """The call succeeded. Who asks for what is there gets that, not another."""
        if call == "RunPodSandbox":
            assert answer.pod_sandbox_id == self.ids[""] or self.pod == "absent"
            self.pod, self.ids[""] = "ready", answer.pod_sandbox_id
        elif call == "CreateContainer":
            assert answer.container_id == self.ids[box] or self.boxes[box] == "absent"
            self.boxes[box], self.ids[box] = "created", answer.container_id
        elif call == "StartContainer":
            self.boxes[box] = "running"
        elif call == "StopContainer":
            self._stopped(box)
        elif call == "RemoveContainer":
            self.boxes[box] = "absent"
        elif call == "StopPodSandbox":
            self.pod = "absent" if self.pod == "absent" else "notready"
            for one in BOXES:
                self._stopped(one)
        else:
            self.pod, self.boxes = "absent", dict.fromkeys(BOXES, "absent")

    def _stopped(self, box: str) -> None:
        if self.boxes[box] == "running":
            self.boxes[box] = "exited"


class Player:
    """Makes the calls of one model's orders."""

    def __init__(self, cri: Cri, name: str) -> None:
        self.cri = cri
        self.model = Model(name)
        self.rng = random.Random(f"{SEED}-{name}")
        self.story: list[str] = []
        self.given_up = 0

    def order(self) -> None:
        weights = [_WEIGHTS.get(call, 2) for call, _ in CALLS]
        for call, box in self.rng.choices(CALLS, weights, k=LENGTH):
            self._play(call, box)
        self._compare()

    def _play(self, call: str, box: str) -> None:
        expected = self.model.expected(call, box)
        request = self.cri.request(call, **self.model.request(call, box))
        given_up = self.rng.random() < GIVEN_UP
        self.story.append(f"{call}({box}){' given up' if given_up else ''} -> {expected}")
        code, answer = self._call(call, request, self.rng.expovariate(100) if given_up else 60.0)
        if code == "GIVEN_UP":
            self.given_up += 1
            code, answer = self._call(call, request, 60.0)
        assert code == expected, f"{code} {answer} ({self.model.ids}); seed {SEED}: {self.story[-9:]}"
        if code == OK:
            self.model.done(call, box, answer)

    def _call(self, call: str, request: Any, seconds: float) -> tuple[str, Any]:
        """Code and answer, or GIVEN_UP by the client after so long."""
        going = self.cri.stub(call).future(request)
        try:
            try:
                return OK, going.result(timeout=seconds)
            except grpc.FutureTimeoutError:
                if going.cancel():
                    return "GIVEN_UP", None
                return OK, going.result()  # it came just now
        except grpc.RpcError as error:
            return error.code().name, error.details()

    def _compare(self) -> None:
        model = self.model
        pods = {
            one.id: one.state
            for one in self.cri.call("ListPodSandbox").items
            if one.metadata.name == model.config["metadata"]["name"]
        }
        expected = {} if model.pod == "absent" else {model.ids[""]: 0 if model.pod == "ready" else 1}
        assert pods == expected, f"seed {SEED}: {self.story[-9:]}"
        found = {one.id: one.state for one in self.cri.call("ListContainers").containers if one.pod_sandbox_id in pods}
        states = ("created", "running", "exited")
        alive = {model.ids[box]: states.index(state) for box, state in model.boxes.items() if state != "absent"}
        assert found == alive, f"seed {SEED}: {self.story[-9:]}"


@pytest.mark.timeout(300)
def test_a_thousand_random_orders(cri: Cri) -> None:
    print(f"CRIBUS_SEED={SEED}")

    def play(number: int) -> Player:
        player = Player(cri, f"order-{number}")
        for _ in range(ORDERS // WORKERS):
            player.order()
        return player

    with ThreadPoolExecutor(WORKERS) as workers:
        players = list(workers.map(play, range(WORKERS)))
    given_up = sum(one.given_up for one in players)
    print(f"{given_up} calls were given up")
    assert given_up > 100
