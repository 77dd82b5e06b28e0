//! A small application for containers of the stand-in node: it catches, ignores or blocks signals as it is told, and
//! writes down when they came.

mod flags;
mod handlers;
mod run;

use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = flags::Flags::parse(&args).and_then(|flags| run::run(&flags));
    match result {
        Ok(code) => code,
        Err(message) => {
            #[allow(clippy::print_stderr, reason = "the container's output is where it is looked for")]
            {
                eprintln!("workload: {message}");
            }
            ExitCode::from(2)
        }
    }
}
