"""What boot loaders and servers read, as text: a plan in, ``{path: text}`` out. Who writes it, and when, is publish's.

A site overrides a template by ``SITE/templates/NAME.j2``; ``{% extends "gitstate/NAME.j2" %}`` is ours.
"""
