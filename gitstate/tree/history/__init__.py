"""log, show and diff: git's arguments and output, followed by changes of metadata in words.

All return their output as a stream of lines. ``color`` means that it goes to a terminal: git then behaves as in its
own pager.
"""

from gitstate.tree.history.commits import log, log_json, show, show_json
from gitstate.tree.history.comparison import Comparison, Side, compare, open_comparison, open_sides
