//! Which files of a volume count.
