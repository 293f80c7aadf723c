"""log, show and diff: git's own words, arguments and output, and after it metadata in words.

All return their output as a stream of lines, for the caller to write or page. ``color`` says that it goes to
a terminal: git then does as in its own pager.
"""

from gitstate.tree.history.commits import log, log_json, show, show_json
from gitstate.tree.history.pairs import Comparison, compared

__all__ = ["Comparison", "compared", "log", "log_json", "show", "show_json"]
