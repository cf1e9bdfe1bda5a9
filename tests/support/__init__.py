"""Fakes at the ports, shared by the tests of several packages."""
