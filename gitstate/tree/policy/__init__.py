"""What is never recorded and what is refused; documented for administrators in docs/policy.md."""

from gitstate.tree.policy.document import POLICY_PATH, parse, policy_path
from gitstate.tree.policy.rules import Policy, Refusal, Treatment, refused, remedies
