"""What guards the repositories: git's hooks, the content of pushes, the forced command of ssh."""
