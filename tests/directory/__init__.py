"""Who runs what. What every backend must do is asked of each in turn; see ``conftest.place``."""
