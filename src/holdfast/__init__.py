"""Holdfast: high availability for virtual machines."""
