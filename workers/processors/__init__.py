"""The built-in processors, one a module: plain functions, as users write them."""
