"""Where objects, their versions and the change log are kept, and who may see them."""
