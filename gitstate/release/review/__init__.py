"""Edits that came from machines: branches ``checkin/HOST/TIME`` that wait for somebody to look at them."""
