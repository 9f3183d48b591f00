//! Handle: the checked numbers that C programs hold instead of pointers.
