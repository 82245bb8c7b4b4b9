"""Operations on whole numbers, one file each. The registry contains the ``OPERATION`` of each file in this folder."""
