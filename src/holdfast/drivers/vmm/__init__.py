"""Hypervisor drivers: libvirt (KVM and plain QEMU) and a dummy; the deployment file; the connections to the hosts."""
