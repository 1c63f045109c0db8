"""What networks are built from: layers, convolutions, operations, groups of parameters."""
