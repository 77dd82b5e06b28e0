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
mod first;
mod in_place;
mod lists;
mod overview;
mod places;
mod pods;
mod promises;
mod proved;
#[path = "../machine/simulation/rng.rs"]
mod rng;
mod scaled;
#[path = "../machine/simulation/seeds.rs"]
mod seeds;
mod shown;
mod simulation;
mod slow;
mod under_way;
