"""The history of calculations: recording, reading, exports and deletion."""
