"""Tests of `gitstate prepare` and of the boot hook."""
