"""How large the shifts of a sequence are: Wasserstein-2 distances between the training images of its steps."""
