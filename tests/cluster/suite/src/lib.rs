//! The cluster suite: all of it is in `tests/cluster`. `make e2e` builds the agent, starts a cluster, installs the
//! agent as its users do and runs the suite. By hand: `tests/cluster/with bash`, in it
//! `tests/cluster/install-agent "$(scripts/static-build)"` and `cargo test -p cluster-suite -- --test-threads 8`.
