"""Where models lie in weight space, and how alike their representations are."""
