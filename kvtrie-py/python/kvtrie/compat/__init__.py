"""Interfaces of other prefix caches in Python, on top of kvtrie."""
