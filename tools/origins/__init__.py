"""Where the inputs of a build come from."""
