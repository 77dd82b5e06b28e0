//! The program: all of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    reloadlet::main(std::env::args_os())
}
