//! The program: all of it is in the library.

use std::process::ExitCode;

use mimalloc::MiMalloc;

/// glibc's allocator leaves gaps between what is kept where answers are read in between: with it a controller of 5,000 workloads takes 100 MiB
/// instead of 80 (`make bench-controller`). Without huge pages: with them an agent that has nothing to do takes 15 MB instead of 2.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    reloadlet::main(std::env::args_os())
}
