"""Who a post can be about: group files, the spellings of names, and the words for swaps."""
