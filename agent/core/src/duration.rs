//! Durations as annotations write them.
