"""The executor: OCI runtime of this node. A bus half, and a fork server that never sees the bus.

What is imported at the top comes before the fork, so it is the fork server alone.
"""

from cribus import forkserver

PRELOAD = (
    "cribus.keeper",
    "cribus.executor.child.init",
    "cribus.executor.child.criu",
    "cribus.executor.child.exec",
    "cribus.executor.child.outside_exec",
    "cribus.executor.child.pod",
    "cribus.executor.child.program",
    "cribus.executor.child.rootfs",
)


async def main(server: forkserver.Server) -> int:
    """Serve until told to stop, or until the fork server has gone: then only a new start helps."""
    import asyncio
    import functools

    from cribus import config, loading, log, pulse
    from cribus.bus import service
    from cribus.cgroups.layout import open_tree
    from cribus.executor import containers, state, verbs
    from cribus.executor.node import Node
    from cribus.executor.plan import host
    from cribus.executor.watch import Keepers
    from cribus.kept import Kept

    loading.done()
    settings = config.load()
    log.setup("executor", node=settings.node, level=settings.log_level)
    pulse.alone(settings.run, "executor")
    own = pulse.keep(settings.run, "executor", asyncio.get_running_loop().call_later)
    own.looks.append(server.look)
    tree = open_tree(settings.cgroups.driver, settings.cgroups.root)
    node = Node(settings.run, server, tree, host.look())
    node.handlers = settings.handlers
    node.kept = Kept(settings.root)
    server.on_orphan = functools.partial(state.orphaned, node)
    keepers = Keepers(node)
    own.looks.append(keepers.look)
    state.claim(settings.run)
    keepers.look()
    await containers.adopt(node)
    async with service.connect(settings, "executor") as bus, bus.serve(verbs.table(node)):
        node.keepers.ahead.fill()
        node.pods.ahead.fill()
        witness = asyncio.create_task(containers.witness(node))
        code = await service.until_told_or_gone(server.closed)
        witness.cancel()
    for kind in (node.keepers, node.pods):
        await kind.ahead.close()
    return code


if __name__ == "__main__":
    started = forkserver.start(PRELOAD)

    from cribus import loading

    loading.begin()

    import asyncio
    import sys

    sys.exit(asyncio.run(main(started)))
