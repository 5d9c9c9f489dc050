from cribus.api import executor
from cribus.api.verb import Verb
from cribus.executor import verbs
from cribus.executor.node import Node


def test_every_verb_is_answered(node: Node) -> None:
    all_verbs = {one for one in vars(executor).values() if isinstance(one, Verb)}
    assert set(verbs.table(node)) == all_verbs
