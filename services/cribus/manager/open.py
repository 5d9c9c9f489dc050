"""Opening the node: its records, and the libraries below as this host has them."""

from cribus.api.verb import Call
from cribus.cgroups.layout import open_tree
from cribus.config import Settings
from cribus.manager import host
from cribus.manager.node import Below, Node, Publish
from cribus.manager.records import Records, Store
from cribus.network.pods import open_network


async def open_node(settings: Settings, call: Call, publish: Publish, store: Store) -> Node:
    """The node with its records read. Raises Unavailable while the bus is away."""
    records = Records(store)
    await records.load()
    below = Below(
        records=records,
        network=open_network(settings.network, settings.root),
        tree=open_tree(settings.cgroups.driver, settings.cgroups.root),
        host=host.look(),
    )
    return Node(settings, call, publish, below)
