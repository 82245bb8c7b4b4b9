"""The events of recorded calculations: publishing, usage totals, and the live feed."""
