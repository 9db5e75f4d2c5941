"""From a host template to a fence topology, and from a device to the lines on an agent's stdin."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.drivers.fence.parameters import BadFenceAttribute, Device, fence_topology
from holdfast.drivers.fence.request import CannotAsk, ciphers, stdin_text, with_password
from holdfast.model.template_text import parse_text

IPMI = {
    "FENCE_AGENT": "fence_ipmilan",
    "FENCE_IP": "10.0.0.9",
    "FENCE_PORT": "6230",
    "FENCE_USERNAME": "admin",
    "FENCE_PASSWORD": "s3cret word",
}


def only_device(attributes: Mapping[str, str]) -> Device:
    topology = fence_topology(attributes)
    assert topology is not None
    [level] = topology.levels
    [device] = level.devices
    return device


def as_the_agents_read_it(text: bytes) -> dict[str, str]:
    """The rules of the agents' library: strip the line, split at the first '=', strip one pair of double quotes."""
    options = {}
    for line in text.decode().split("\n"):
        if line.strip():
            name, value = line.strip().split("=", 1)
            options[name] = re.sub('^"(.*)"$', "\\1", value)
    return options


def test_a_host_without_fence_attributes_has_no_topology() -> None:
    assert fence_topology({"NAME": "node1", "CPU": "8"}) is None


def test_single_attributes_become_one_device() -> None:
    device = only_device(
        {**IPMI, "FENCE_TIMEOUT": "12", "FENCE_PRIVLVL": "operator", "fence_plug": "3", "IM_MAD": "kvm"}
    )
    assert device.agent == "fence_ipmilan"
    assert device.options == {
        "ip": "10.0.0.9",
        "ipport": "6230",
        "username": "admin",
        "password": "s3cret word",
        "privlvl": "operator",
        "plug": "3",
    }
    assert device.limit_s == 12
    assert device.name == "fence_ipmilan at 10.0.0.9:6230 plug 3"


def test_older_names_of_options_are_understood() -> None:
    device = only_device({"FENCE_AGENT": "fence_apc", "FENCE_IPADDR": "pdu", "FENCE_LOGIN": "a", "FENCE_PASSWD": "b"})
    assert device.options == {"ip": "pdu", "username": "a", "password": "b"}


def test_vectors_add_devices_and_levels_are_sorted() -> None:
    template = parse_text(
        """FENCE_AGENT = "fence_ipmilan"
        FENCE_IP = "10.0.0.9"
        FENCE = [ LEVEL = "3", AGENT = "fence_sbd", DEVICES = "/dev/sdx" ]
        FENCE = [ LEVEL = "2", AGENT = "fence_apc", IP = "pdu1", PLUG = "4", TIMEOUT = "10" ]
        FENCE = [ LEVEL = "2", AGENT = "fence_apc", IP = "pdu2", PLUG = "4", TIMEOUT = "10" ]"""
    )
    topology = fence_topology(template.singles(), template.sections("FENCE"))
    assert topology is not None
    assert [(level.index, [device.name for device in level.devices]) for level in topology.levels] == [
        (1, ["fence_ipmilan at 10.0.0.9"]),
        (2, ["fence_apc at pdu1 plug 4", "fence_apc at pdu2 plug 4"]),
        (3, ["fence_sbd"]),
    ]
    assert topology.limit_s == 30 + 10 + 10 + 30


def test_an_agent_may_be_named_with_its_path_if_that_is_an_agent_directory() -> None:
    device = only_device({**IPMI, "FENCE_AGENT": "/usr/sbin/fence_ipmilan"})
    assert (device.agent, device.directory) == ("fence_ipmilan", Path("/usr/sbin"))
    topology = fence_topology({**IPMI, "FENCE_AGENT": "/opt/x/fence_x"}, directories=[Path("/opt/x")])
    assert topology is not None


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"FENCE_AGENT": ""}, "FENCE_AGENT: is missing; name the fence agent"),
        ({"FENCE_AGENT": "fence_ipmilan; reboot"}, "FENCE_AGENT: .* is not the name of a fence agent"),
        ({"FENCE_AGENT": "/tmp/fence_ipmilan"}, "FENCE_AGENT: agents are only run from /usr/sbin, /sbin; install it"),
        ({"FENCE_AGENT": "/usr/sbin/../../tmp/fence_x"}, "FENCE_AGENT: agents are only run from"),
        ({"FENCE_AGENT": "bash"}, "FENCE_AGENT: 'bash' is not the name of a fence agent"),
        ({"FENCE_IP": "10.0.0.9 -f /etc/shadow"}, "FENCE_IP: .* is neither an address nor a host name"),
        ({"FENCE_IP": "-x"}, "FENCE_IP: '-x' is neither an address nor a host name"),
        ({"FENCE_IP": ""}, "FENCE_IP: '' is neither"),
        ({"FENCE_PORT": "65536"}, "FENCE_PORT: '65536' is not a whole number from 1 to 65535; write one"),
        ({"FENCE_PORT": "６２３"}, "FENCE_PORT: .* is not a whole number"),
        ({"FENCE_TIMEOUT": "0"}, "FENCE_TIMEOUT: '0' is not a whole number from 1 to 600"),
        ({"FENCE_TIMEOUT": "1.5"}, "FENCE_TIMEOUT: '1.5' is not a whole number"),
        ({"FENCE_LEVEL": "10"}, "FENCE_LEVEL: '10' is not a whole number from 1 to 9"),
        ({"FENCE_CIPHER": "best"}, "FENCE_CIPHER: 'best' is not a whole number"),
        ({"FENCE_LANPLUS": "maybe"}, "FENCE_LANPLUS: 'maybe' is neither yes nor no"),
        ({"FENCE_ACTION": "on"}, "FENCE_ACTION: is not accepted: .*always off"),
        ({"FENCE_METHOD": "cycle"}, "FENCE_METHOD: a power cycle can report success before power is off; write onoff"),
        ({"FENCE_MISSING_AS_OFF": "1"}, "FENCE_MISSING_AS_OFF: is not accepted: a mistyped plug"),
        ({"FENCE_HELP": "1"}, "FENCE_HELP: is not accepted: it makes the agent succeed without doing anything"),
        ({"FENCE_PASSWORD_SCRIPT": "/bin/x"}, "FENCE_PASSWORD_SCRIPT: a host template may not say which program"),
        ({"FENCE_IPMITOOL_PATH": "/bin/x"}, "FENCE_IPMITOOL_PATH: a host template may not say which program"),
        ({"FENCE_SSH_OPTIONS": "-oProxyCommand=x"}, "FENCE_SSH_OPTIONS: a host template may not say which program"),
        ({"FENCE_PRIVLVL": "operator -f /etc/shadow"}, "FENCE_PRIVLVL: has characters that ipmitool would read"),
        (
            {"FENCE_PASSWORD_FILE": "/etc/pw"},
            "FENCE_PASSWORD_FILE: the password is given twice; remove it or FENCE_PASSWORD",
        ),
        ({"FENCE_PASSWD": "x"}, "FENCE_PASSWD: says the same as FENCE_PASSWORD; keep one"),
        ({"FENCE_IPPORT": "623"}, "FENCE_IPPORT: says the same as FENCE_PORT"),
        ({"FENCE_TWO WORDS": "x"}, "FENCE_TWO WORDS: is not the name of an option"),
        ({"FENCE_PLUG": "1\naction=on"}, "FENCE_PLUG: contains a line break"),
    ],
)
def test_a_wrong_attribute_is_named_with_its_rule_and_its_way_out(changes: dict[str, str], says: str) -> None:
    with pytest.raises(BadFenceAttribute, match=f"Attribute {says}"):
        fence_topology({**IPMI, **changes})


def test_a_wrong_attribute_of_a_vector_is_named_with_its_place() -> None:
    with pytest.raises(BadFenceAttribute, match=r"Attribute FENCE\[2\]/PORT: 'x' is not a whole number"):
        fence_topology({}, [{"AGENT": "fence_apc"}, {"AGENT": "fence_apc", "PORT": "x"}])


def test_a_relative_password_file_is_refused() -> None:
    with pytest.raises(BadFenceAttribute, match="FENCE_PASSWORD_FILE: 'pw' is not an absolute path"):
        fence_topology({"FENCE_AGENT": "fence_apc", "FENCE_PASSWORD_FILE": "pw"})


def test_no_message_and_no_repr_shows_a_secret() -> None:
    with pytest.raises(BadFenceAttribute) as caught:
        fence_topology({**IPMI, "FENCE_PASSWORD": "s3cret\nword"})
    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(fence_topology(IPMI))


def test_every_kind_of_secret_is_known_as_one() -> None:
    names = ("PASSWORD", "COMMUNITY", "APIKEY", "SECRET_KEY", "TOKEN", "SNMP_PRIV_PASSWD", "HEXADECIMAL_KG")
    attributes = {"FENCE_AGENT": "fence_x", "FENCE_IP": "h", "FENCE_PLUG": "3"}
    device = only_device(attributes | {f"FENCE_{name}": f"hush-{name}" for name in names})
    assert sorted(device.secrets()) == sorted(f"hush-{name}" for name in names)


def test_devices_behind_one_address_share_a_console() -> None:
    def device(**words: str) -> Device:
        return only_device({"FENCE_AGENT": "fence_apc", **{f"FENCE_{name}": value for name, value in words.items()}})

    assert device(IP="pdu", PLUG="1").console == device(IP="PDU", PLUG="2").console
    assert device(IP="pdu1").console != device(IP="pdu2").console
    assert device(DEVICES="/dev/sda", PLUG="a").console != device(DEVICES="/dev/sda", PLUG="b").console


# --- what goes to stdin


def test_ipmi_agents_get_the_defaults_that_make_them_fast_and_talkative() -> None:
    lines = as_the_agents_read_it(stdin_text("fence_ipmilan", {"ip": "h"}, "off", "3", 25))
    assert lines == {
        "ip": "h",
        "action": "off",
        "cipher": "3",
        "lanplus": "1",
        "power_wait": "0",
        "power_timeout": "17",
        "verbose_level": "2",
    }


def test_the_template_wins_over_our_defaults() -> None:
    options = {"lanplus": "0", "power_wait": "4", "power_timeout": "9"}
    lines = as_the_agents_read_it(stdin_text("fence_ipmilan", options, "status", "", 25))
    assert {name: lines[name] for name in options} == options


def test_other_agents_are_only_told_when_to_give_up() -> None:
    lines = as_the_agents_read_it(stdin_text("fence_apc", {"plug": "1"}, "off", "", 10))
    assert lines == {"plug": "1", "action": "off", "power_timeout": "7"}


def test_method_is_never_sent() -> None:
    assert "method" not in only_device({**IPMI, "FENCE_METHOD": "onoff"}).options


@pytest.mark.parametrize(
    ("attributes", "suites"),
    [
        (IPMI, ("3", "17")),
        ({**IPMI, "FENCE_CIPHER": "17"}, ("17",)),
        ({"FENCE_AGENT": "fence_apc", "FENCE_IP": "pdu"}, ("",)),
    ],
)
def test_cipher_suites_are_tried_only_where_the_template_is_silent(attributes: dict[str, str], suites: object) -> None:
    assert ciphers(only_device(attributes)) == suites


@given(st.text(max_size=40))
def test_a_password_arrives_unchanged_and_adds_no_line_or_is_refused(password: str) -> None:
    try:
        device = only_device({"FENCE_AGENT": "fence_apc", "FENCE_IP": "pdu", "FENCE_PASSWORD": password})
    except BadFenceAttribute:
        assert any(ord(letter) < 32 or ord(letter) in (127, *range(0xD800, 0xE000)) for letter in password)
        return
    text = stdin_text(device.agent, device.options, "off", "", 10)
    assert as_the_agents_read_it(text) == {"power_timeout": "7", "ip": "pdu", "password": password, "action": "off"}


# --- the password file


def with_file(path: Path) -> Mapping[str, str]:
    return with_password(Device("fence_apc", {"ip": "pdu"}, password_file=path))


def test_the_password_is_read_from_its_file_at_each_use(tmp_path: Path) -> None:
    path = tmp_path / "pw"
    path.write_text("first\n")
    path.chmod(0o640)
    assert with_file(path) == {"ip": "pdu", "password": "first"}
    path.write_text("second")
    assert with_file(path)["password"] == "second"


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        ("hush\n", 0o644, "is open to everybody: chmod o= "),
        ("", 0o600, "must hold the password and nothing else"),
        ("hush\nhush\n", 0o600, "must hold the password and nothing else"),
        ("h" * 5000, 0o600, "at most 4096 bytes"),
    ],
)
def test_a_bad_password_file_is_explained_without_its_content(
    tmp_path: Path, content: str, mode: int, says: str
) -> None:
    path = tmp_path / "pw"
    path.write_text(content)
    path.chmod(mode)
    with pytest.raises(CannotAsk, match=says) as caught:
        with_file(path)
    assert "hush" not in caught.value.reason


def test_a_missing_password_file_is_explained() -> None:
    with pytest.raises(CannotAsk, match="/no/such/file cannot be read: no such file or directory"):
        with_file(Path("/no/such/file"))
