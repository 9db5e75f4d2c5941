"""Users and groups as XML."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.api.masking import MASK, masked
from holdfast.api.views.markup import ids, text
from holdfast.api.views.owners import GROUPS
from holdfast.model.template_xml import cdata, write_xml
from holdfast.model.user import User

_NO_QUOTAS = (
    "<DATASTORE_QUOTA></DATASTORE_QUOTA><NETWORK_QUOTA></NETWORK_QUOTA><VM_QUOTA></VM_QUOTA><IMAGE_QUOTA></IMAGE_QUOTA>"
)
_USER_DEFAULTS = f"<DEFAULT_USER_QUOTAS>{_NO_QUOTAS}</DEFAULT_USER_QUOTAS>"
_GROUP_DEFAULTS = f"<DEFAULT_GROUP_QUOTAS>{_NO_QUOTAS}</DEFAULT_GROUP_QUOTAS>"


def user(user: User, *, with_digest: bool) -> str:
    """One user; the digest of the secret is for administrators only."""
    return f"<USER>{_user_body(user, with_digest)}{_NO_QUOTAS}{_USER_DEFAULTS}</USER>"


def users(users: Iterable[User], *, with_digest: bool) -> str:
    """The pool, in which each user's quotas follow the user."""
    inner = "".join(f"<USER>{_user_body(user, with_digest)}</USER>{_quotas(user.oid)}" for user in users)
    return f"<USER_POOL>{inner}{_USER_DEFAULTS}</USER_POOL>"


def _user_body(user: User, with_digest: bool) -> str:
    return (
        f"<ID>{user.oid}</ID><GID>{user.gid}</GID>{ids('GROUPS', (user.gid,))}<GNAME>{text(user.gname)}</GNAME>"
        f"<NAME>{text(user.name)}</NAME><PASSWORD>{text(user.password) if with_digest else MASK}</PASSWORD>"
        f"<AUTH_DRIVER>{cdata(user.auth_driver)}</AUTH_DRIVER><ENABLED>{user.enabled:d}</ENABLED>"
        f"<TEMPLATE>{write_xml(masked(user.template))}</TEMPLATE>"
    )


def group(gid: int, users: Iterable[User]) -> str:
    """One of the groups of every installation."""
    return f"<GROUP>{_group_body(gid, users)}{_NO_QUOTAS}{_vlan_rules(gid)}{_GROUP_DEFAULTS}</GROUP>"


def groups(users: Iterable[User]) -> str:
    """The pool, newest first."""
    members = list(users)
    inner = "".join(
        f"<GROUP>{_group_body(gid, members)}</GROUP>{_quotas(gid)}{_vlan_rules(gid)}"
        for gid in sorted(GROUPS, reverse=True)
    )
    return f"<GROUP_POOL>{inner}{_GROUP_DEFAULTS}</GROUP_POOL>"


def _group_body(gid: int, users: Iterable[User]) -> str:
    members = (user.oid for user in users if user.gid == gid)
    return f"<ID>{gid}</ID><NAME>{GROUPS[gid]}</NAME><TEMPLATE></TEMPLATE>{ids('USERS', members)}<ADMINS></ADMINS>"


def _quotas(oid: int) -> str:
    return f"<QUOTAS><ID>{oid}</ID>{_NO_QUOTAS}</QUOTAS>"


def _vlan_rules(gid: int) -> str:
    return f"<VLAN_RULES><ID>{cdata(str(gid))}</ID></VLAN_RULES>"
