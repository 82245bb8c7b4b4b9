"""Calculations: planning, looking up or computing the result, and recording."""
