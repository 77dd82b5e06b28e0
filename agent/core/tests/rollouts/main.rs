//! Controllers at work on a cluster in which everything that can come too late, twice or not at all does so.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper that fails is a test that fails; the lint's exception for tests covers test functions only"
)]

mod blocked;
mod chaos;
mod cluster;
mod controllers;
mod in_place;
mod lists;
mod overview;
mod pods;
mod promises;
mod proved;
#[path = "../machine/simulation/rng.rs"]
mod rng;
#[path = "../machine/simulation/seeds.rs"]
mod seeds;
mod shown;
mod simulation;
mod under_way;
