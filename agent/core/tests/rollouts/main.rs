//! Controllers at work on a cluster in which everything that can come too late, twice or not at all does so.

mod chaos;
mod cluster;
mod controllers;
mod promises;
mod rng;
mod simulation;
