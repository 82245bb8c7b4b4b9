"""Operations of whole numbers, one file each. The registry takes ``OPERATION`` of every file in this folder."""
