"""Forgetting UDP flows to host ports. Sources: include/uapi/linux/netfilter/nfnetlink_conntrack.h."""

import errno
import socket
import struct

from cribus.linux import netlink

_NETFILTER = 12
_NEW, _GET, _DELETE = 0x100, 0x101, 0x102  # NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_*
_TUPLE_ORIG, _TUPLE_PROTO, _PROTO_NUM, _PROTO_DST_PORT = 1, 2, 1, 3


def forget_udp(ports: set[int]) -> int:
    """Delete every flow whose first packet went to one of these UDP ports; how many there were."""
    count = 0
    with netlink.Socket(_NETFILTER) as control:
        for family in (socket.AF_INET, socket.AF_INET6):
            head = struct.pack("=BBH", family, 0, 0)
            for body in control.ask(netlink.message(_GET, netlink.NLM_F_DUMP, head)):
                original = netlink.attributes(body[4:]).get(_TUPLE_ORIG, b"")
                protocol = netlink.attributes(netlink.attributes(original).get(_TUPLE_PROTO, b""))
                port = struct.unpack("!H", protocol.get(_PROTO_DST_PORT, b"\0\0"))[0]
                if protocol.get(_PROTO_NUM, b"\0")[0] != socket.IPPROTO_UDP or port not in ports:
                    continue
                try:
                    control.send(netlink.message(_DELETE, 0, head + netlink.attribute(_TUPLE_ORIG | 0x8000, original)))
                except OSError as error:
                    if error.errno != errno.ENOENT:  # it timed out meanwhile
                        raise
                count += 1
    return count
