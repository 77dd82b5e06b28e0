//! The node suite: all of it is in `tests/node`. It needs root and the binaries of `reloadlet` and `standin`:
//! `cargo build --bins -p reloadlet -p standin && cargo test -p node-suite -- --test-threads 8`. Most of its tests wait
//! most of the time, so more threads than processors make it faster: on two processors 1 minute instead of 3.
//!
//! `NODE_SUITE_SEED=<number>` gives `chaos` another order of events.
