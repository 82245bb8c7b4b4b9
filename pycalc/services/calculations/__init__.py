"""The steps of a calculation, from its operands to its recorded result."""
