"""gitstate: stateless Linux with git inside."""

__version__ = "0.1.0"
