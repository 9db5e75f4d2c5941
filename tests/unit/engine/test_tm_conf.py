"""What transfer drivers mean for datastores: TM_MAD_CONF of the built-in drivers and of the site's own."""

import pytest

from holdfast.engine.tm_conf import TmConf, modes
from holdfast.model.enums import DatastoreType
from holdfast.model.errors import AllocateError, TemplateError

# TM_MAD: LN_TARGET, CLONE_TARGET, TM_MAD_SYSTEM, DRIVER, ALLOW_ORPHANS of image datastores; SHARED, DS_MIGRATE,
# DS_MIGRATE_SNAP of system datastores.  As OpenNebula ships them.
SHIPPED = {
    "dummy": ("NONE", "SYSTEM", "", "", "NO", "YES", "YES", "YES"),
    "shared": ("NONE", "SYSTEM", "ssh", "", "FORMAT", "YES", "YES", "YES"),
    "qcow2": ("NONE", "SYSTEM", "ssh", "qcow2", "FORMAT", "YES", "YES", "YES"),
    "ssh": ("SYSTEM", "SYSTEM", "", "", "YES", "NO", "YES", "YES"),
    "local": ("SYSTEM", "SYSTEM", "", "", "FORMAT", "NO", "YES", "YES"),
}


@pytest.mark.parametrize("tm_mad", sorted(SHIPPED))
def test_datastores_of_the_built_in_drivers_are_as_opennebula_ships_them(tm_mad: str) -> None:
    images = TmConf().attributes_of(tm_mad, DatastoreType.IMAGE_DS)
    system = TmConf().attributes_of(tm_mad, DatastoreType.SYSTEM_DS)
    of_images = [images.get(n, "") for n in ("LN_TARGET", "CLONE_TARGET", "TM_MAD_SYSTEM", "DRIVER", "ALLOW_ORPHANS")]
    of_system = [system[n] for n in ("SHARED", "DS_MIGRATE", "DS_MIGRATE_SNAP")]
    assert (*of_images, *of_system) == SHIPPED[tm_mad]
    assert "SHARED" not in images
    assert "LN_TARGET" not in system


def test_shared_images_serve_vms_on_ssh_with_attributes_of_that_mode() -> None:
    images = TmConf().attributes_of("shared", DatastoreType.IMAGE_DS)
    of_mode = [images[f"{name}_SSH"] for name in ("LN_TARGET", "CLONE_TARGET", "DISK_TYPE")]
    assert of_mode == ["SYSTEM", "SYSTEM", "FILE"]


def test_a_driver_of_the_site_is_what_the_site_says() -> None:
    conf = TmConf({"fancy": {"ln_target": "NONE", "CLONE_TARGET": "SELF", "SHARED": "NO", "DISK_TYPE": "BLOCK"}})
    images = conf.attributes_of("fancy", DatastoreType.IMAGE_DS)
    assert (images["LN_TARGET"], images["CLONE_TARGET"], images["DISK_TYPE"]) == ("NONE", "SELF", "BLOCK")
    system = conf.attributes_of("fancy", DatastoreType.SYSTEM_DS)
    assert (system["SHARED"], system["DS_MIGRATE"], system["DS_MIGRATE_SNAP"]) == ("NO", "YES", "NO")


def test_a_driver_that_nobody_declared_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(AllocateError, match=r'"ceph" is not defined: there are dummy, fancy, local.*tm_mad_conf'):
        TmConf({"fancy": {"LN_TARGET": "NONE", "CLONE_TARGET": "SELF"}}).attributes_of("ceph", DatastoreType.IMAGE_DS)


@pytest.mark.parametrize(
    ("name", "attributes", "said"),
    [
        ("ssh", {}, "tm_mad_conf.ssh: this driver is built in"),
        ("a b", {}, "cannot be a driver's name"),
        ("../x", {}, "cannot be a driver's name"),
        ("x", {"LN_TARGET": "NONE"}, "CLONE_TARGET is missing; it is NONE, SELF, SYSTEM"),
        ("x", {"LN_TARGET": "HERE"}, 'LN_TARGET is "HERE", it must be NONE or SELF or SYSTEM'),
        ("x", {"SHARED": "perhaps"}, 'SHARED is "perhaps", it must be YES or NO'),
        ("x", {"COLOUR": "red"}, "unknown attribute COLOUR; known are"),
        ("x", {"LN_TARGET_SSH": "SELF"}, "unknown attribute LN_TARGET_SSH"),
        (
            "x",
            {"LN_TARGET": "NONE", "CLONE_TARGET": "SELF", "TM_MAD_SYSTEM": "ssh", "LN_TARGET_SSH": "SELF"},
            "CLONE_TARGET_SSH is missing",
        ),
    ],
)
def test_a_half_defined_driver_is_refused_with_the_rule(name: str, attributes: dict[str, str], said: str) -> None:
    with pytest.raises(TemplateError) as caught:
        TmConf({name: attributes})
    assert said in caught.value.message


def test_modes_are_separated_by_commas() -> None:
    assert modes("ssh, local") == ("ssh", "local")
    assert modes("") == ()
