"""What a configuration leaves out, told from the first rows of its log; and a configuration to start from."""
