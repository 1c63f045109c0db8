"""PyTorch's arrays as our trees, and pretrained weights."""
