"""Who runs in a container: names and numbers of CRI and image, looked up in the image's own
/etc/passwd and /etc/group (passwd(5), group(5)). Pure."""

from typing import NamedTuple

from cribus.api.cri.security import LinuxContainerSecurityContext
from cribus.api.cri.values import SupplementalGroupsPolicy
from cribus.errors import InvalidArgument

_MOST = 2**32 - 2  # the last number a uid or gid may be


class Identity(NamedTuple):
    uid: int
    gid: int
    groups: list[int]  # sorted, with gid among them
    home: str = "/"


class Account(NamedTuple):
    name: str
    uid: int
    gid: int
    home: str


class Group(NamedTuple):
    name: str
    gid: int
    members: tuple[str, ...]


class Files(NamedTuple):
    """The image's account files."""

    passwd: bytes = b""
    group: bytes = b""


def resolve(context: LinuxContainerSecurityContext, of_image: str, files: Files) -> Identity:
    """The identity that CRI asks for, else the image's `User`, else root.

    Raises InvalidArgument for a name that the image does not know, or a group without a user.
    """
    who, _, group = _asked(context, of_image).partition(":")
    accounts = _accounts(files.passwd)
    groups = _groups(files.group)
    account = _account(who or "0", accounts)
    gid = _gid(group, groups) if group else account.gid
    extra = {_checked(number, "supplemental group") for number in context.supplemental_groups}
    if context.supplemental_groups_policy is SupplementalGroupsPolicy.Merge and account.name:
        extra.update(one.gid for one in groups if account.name in one.members)
    return Identity(account.uid, gid, sorted(extra | {gid}), account.home)


def _asked(context: LinuxContainerSecurityContext, of_image: str) -> str:
    user = context.run_as_username
    if not user and context.run_as_user is not None:
        user = str(context.run_as_user)
    if context.run_as_group is None:
        return user or of_image
    if not user:
        raise InvalidArgument("run_as_group is given without run_as_user or run_as_username; give both")
    return f"{user.partition(':')[0]}:{context.run_as_group}"


def _account(who: str, accounts: list[Account]) -> Account:
    for account in accounts:
        if account.name == who:
            return account
    if not who.lstrip("-").isdigit():
        raise InvalidArgument(f"user {who!r} is not in the image's /etc/passwd; use a number or a name that is there")
    uid = _checked(int(who), "user")
    for account in accounts:
        if account.uid == uid:
            return account
    return Account("", uid, 0, "/")


def _gid(which: str, groups: list[Group]) -> int:
    for group in groups:
        if group.name == which:
            return group.gid
    if not which.lstrip("-").isdigit():
        raise InvalidArgument(f"group {which!r} is not in the image's /etc/group; use a number or a name that is there")
    return _checked(int(which), "group")


def _checked(number: int, what: str) -> int:
    if not 0 <= number <= _MOST:
        raise InvalidArgument(f"{what} {number} is out of range: it must be from 0 to {_MOST}")
    return number


def _accounts(data: bytes) -> list[Account]:
    found = []
    for line in data.decode(errors="replace").splitlines():
        parts = line.split(":")
        if len(parts) >= 6 and parts[2].isdigit() and parts[3].isdigit():
            found.append(Account(parts[0], int(parts[2]), int(parts[3]), parts[5] or "/"))
    return found


def _groups(data: bytes) -> list[Group]:
    found = []
    for line in data.decode(errors="replace").splitlines():
        parts = line.split(":")
        if len(parts) >= 3 and parts[2].isdigit():
            members = tuple(name.strip() for name in parts[3].split(",")) if len(parts) > 3 else ()
            found.append(Group(parts[0], int(parts[2]), members))
    return found
