//! The machine as a whole, driven by a simulated node in simulated time: each test is a promise of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper that fails is a test that fails; the lint's exception for tests covers test functions only"
)]

mod blocking;
mod calling;
mod catching;
mod digests;
mod doubts;
mod drivers;
mod endings;
mod first_looks;
mod frozen;
mod gauges;
mod guard;
mod heard;
mod journal;
mod lacks;
mod left_unread;
mod lost_and_found;
mod lost_sends;
mod measuring;
mod missed;
mod needs;
mod node;
mod notifications;
mod nudging;
mod own_reads;
mod pieces;
mod plans;
mod pods;
mod processes;
mod readings;
mod ready;
mod refusals;
mod renewals;
mod replicas;
mod requests;
mod rereads;
mod restarts;
mod restarts_in_place;
mod restarts_refused;
mod retelling;
mod said;
mod same_after;
mod seconds;
mod several;
mod simulation;
mod starts;
mod supervised;
mod swaps;
mod taken;
mod tmpfs;
mod unanswered;
mod unrolled;
mod verdicts;
mod waits;
mod windows;
mod withheld;
mod world;
