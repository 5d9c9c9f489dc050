"""Print the users of this node, with what each may do, as JSON for the configuration of a NATS cluster's servers.

The passwords are made when they are missing. Who has them can do on this node what its services can.
docs/cluster.md shows how several nodes share one cluster.
"""

import argparse
import json
import os

from cribus import config
from cribus.bus import credentials
from cribus.errors import FailedPrecondition


def arguments(parser: argparse.ArgumentParser) -> None:
    """None."""


def command(given: argparse.Namespace) -> int:
    if os.geteuid() != 0:
        raise FailedPrecondition("the node's passwords are for root only; use sudo")
    print(json.dumps(credentials.users(config.load()), indent=2))
    return 0
