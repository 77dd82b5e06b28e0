//! The node suite: all of it is in `tests/node`. It needs root and the binaries of `reloadlet` and `standin`:
//! `cargo build --bins -p reloadlet -p standin && cargo test -p node-suite`.
