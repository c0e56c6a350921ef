"""dgmjax."""
