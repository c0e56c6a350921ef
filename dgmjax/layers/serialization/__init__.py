"""How a module is described, saved and made again."""
