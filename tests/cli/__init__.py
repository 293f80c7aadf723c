"""What users and scripts see of the command line."""
