"""Device names: which are taken, and which are one queue."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tensorkeep.device import CPU, Device
from tensorkeep.errors import InvalidDevice


@pytest.mark.parametrize(
    ("name", "queue", "kind", "index"),
    [
        ("CPU", "CPU", "CPU", None),
        ("cpu", "CPU", "CPU", None),
        ("CPU:", "CPU:", "CPU", None),
        ("CPU:1", "CPU:1", "CPU", 1),
        ("Gpu", "GPU", "GPU", None),
        ("gpu:0", "GPU:0", "GPU", 0),
        ("GPU:12345", "GPU:12345", "GPU", 12345),
        ("GPU:007", "GPU:007", "GPU", 7),
    ],
)
def test_a_name_of_the_strict_form_is_taken(name, queue, kind, index):
    for parse in (Device.parse, Device.parse_loosely):
        if (parse, name) != (Device.parse_loosely, "GPU:"):
            device = parse(name)
            assert (device.queue, device.kind, device.index) == (queue, kind, index)
            assert device.name == str(device) == name


@pytest.mark.parametrize(
    "name",
    [
        "", "bad_device", "CPU::", "CPU:1.8", "CPU:123456", "CPU:-1", "CPU:x", "CPUxyz", "CPU:1 ",
        " CPU", "CPU\n", "CPU:1\n", "GPU:1:2", "TPU", "C", "CPU:٣", "GPU:12345678901234567890",
    ],
)  # fmt: skip
def test_a_name_of_another_form_is_refused(name):
    with pytest.raises(InvalidDevice) as caught:
        Device.parse(name)
    assert str(caught.value) == f"device must be CPU, GPU, CPU:<n> or GPU:<n>, not {name!r}"


@pytest.mark.parametrize(
    ("name", "kind", "index"),
    [
        ("CPUxyz", "CPU", None),
        ("cpuxyz", "CPU", None),
        ("CPU:1x", "CPU", None),
        ("CPU::", "CPU", None),
        ("CPU:1.8", "CPU", None),
        ("CPU:1\n", "CPU", None),
        ("CPU:" + "9" * 5000, "CPU", None),
        ("GPU", "GPU", None),
        ("gpu:3", "GPU", 3),
    ],
)
def test_the_loose_form_takes_whatever_begins_with_cpu(name, kind, index):
    device = Device.parse_loosely(name)
    assert (device.queue, device.kind, device.index) == (name.upper(), kind, index)
    assert device.name == name


@pytest.mark.parametrize(
    "name", ["", "bad", " CPU", "GPUx", "GPU:", "GPU:x", "GPU\n", "GPU:1\n", "GPU:" + "9" * 5000]
)
def test_the_loose_form_refuses_everything_else(name):
    with pytest.raises(InvalidDevice, match="device must begin with CPU, or be GPU or GPU:<n>"):
        Device.parse_loosely(name)


def test_devices_are_equal_when_they_name_the_same_queue():
    assert Device.parse("gpu:1") == Device.parse("GPU:1")
    assert hash(Device.parse("gpu:1")) == hash(Device.parse("GPU:1"))
    assert Device.parse("gpu:1").name == "gpu:1"


def test_each_spelling_of_an_index_is_a_queue_of_its_own():
    names = ["CPU", "CPU:", "CPU:0", "CPU:00", "CPU:1", "GPU", "GPU:0"]
    assert len({Device.parse(name) for name in names}) == len(names)


def test_devices_are_ordered_by_their_queues():
    devices = [Device.parse(name) for name in ("gpu:1", "CPU:1", "GPU:0", "cpu")]
    assert [each.name for each in sorted(devices)] == ["cpu", "CPU:1", "GPU:0", "gpu:1"]


def test_a_device_cannot_be_changed():
    with pytest.raises(AttributeError):
        CPU.queue = "GPU"


@given(st.text())
@example("CPU:1")
def test_any_name_is_either_taken_whole_or_refused(name):
    for parse in (Device.parse, Device.parse_loosely):
        try:
            device = parse(name)
        except InvalidDevice:
            continue
        assert device.name == name
        assert device.queue.startswith(device.kind)
