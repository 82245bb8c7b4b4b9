"""The life of a calculation, from its operands to its recorded result."""
