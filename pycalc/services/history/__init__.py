"""The history of calculations: recording, reading, export and deletion."""
