"""What all commands share: the root command, options, output, errors."""
