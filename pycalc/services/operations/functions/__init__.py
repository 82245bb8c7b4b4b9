"""Operations on whole numbers, one file each. The registry takes ``OPERATION`` from every file in this folder."""
