//! The flags. They can be combined as far as that makes sense.

use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;

/// What the process should do.
///
/// ```text
/// --catch HUP[,USR1]         catch and log these; default HUP, where no other flag names a signal
/// --catch-after 15s          install the handlers (of --catch and --exit-on) that late
/// --exit-on TERM[,…]         catch, log, exit with status 0
/// --ignore HUP[,…]           ignore
/// --none                     no handler at all
/// --block-all-threads HUP[,…]  block in every thread
/// --block-leader HUP[,…]     block in the first thread; another one takes it
/// --children N               N children of this program with --none
/// --child "ARGS"             a child of this program with these arguments (may be repeated)
/// --comm NAME                the process's name
/// --pause                    catch INT and TERM, reap, log nothing: the sandbox's pause
/// --log PATH                 lines: started NS | ready NS | NS SIGNAME FIRST-LINE-OF-READ
/// --read PATH                the file that is read after each signal
/// --stamps PATH              24-byte records: NS, signal number, count (little endian)
/// ```
#[derive(Debug, Default)]
pub(crate) struct Flags {
    pub(crate) catch: Vec<Signal>,
    pub(crate) catch_after: Duration,
    pub(crate) exit_on: Vec<Signal>,
    pub(crate) ignore: Vec<Signal>,
    pub(crate) block_all: Vec<Signal>,
    pub(crate) block_leader: Vec<Signal>,
    pub(crate) children: Vec<Vec<String>>,
    pub(crate) comm: Option<String>,
    pub(crate) pause: bool,
    pub(crate) log: Option<PathBuf>,
    pub(crate) read: Option<PathBuf>,
    pub(crate) stamps: Option<PathBuf>,
}

impl Flags {
    pub(crate) fn parse(args: &[String]) -> Result<Self, String> {
        let mut flags = Self::default();
        let (mut named, mut none) = (false, false);
        let mut args = args.iter();
        while let Some(flag) = args.next() {
            let mut value = || args.next().ok_or_else(|| format!("{flag} needs a value"));
            match flag.as_str() {
                "--catch" => flags.catch = signals(value()?)?,
                "--catch-after" => flags.catch_after = duration(value()?)?,
                "--exit-on" => flags.exit_on = signals(value()?)?,
                "--ignore" => flags.ignore = signals(value()?)?,
                "--block-all-threads" => flags.block_all = signals(value()?)?,
                "--block-leader" => flags.block_leader = signals(value()?)?,
                "--children" => {
                    let text = value()?;
                    let count = text.parse::<usize>().map_err(|error| format!("{flag} {text}: {error}"))?;
                    flags.children.extend((0..count).map(|_| vec!["--none".to_owned()]));
                }
                "--child" => flags.children.push(value()?.split_whitespace().map(str::to_owned).collect()),
                "--comm" => flags.comm = Some(value()?.clone()),
                "--log" => flags.log = Some(PathBuf::from(value()?)),
                "--read" => flags.read = Some(PathBuf::from(value()?)),
                "--stamps" => flags.stamps = Some(PathBuf::from(value()?)),
                "--none" => none = true,
                "--pause" => flags.pause = true,
                other => return Err(format!("{other} is not a flag")),
            }
            named |= matches!(flag.as_str(), "--catch" | "--exit-on" | "--ignore" | "--none" | "--pause");
        }
        if none {
            flags.catch.clear();
        } else if !named {
            // A process that only blocks a signal handles it too, once it is unblocked.
            flags.catch.push(Signal::SIGHUP);
            flags.catch.extend(flags.block_leader.iter().chain(&flags.block_all).copied());
            flags.catch.sort();
            flags.catch.dedup();
        }
        Ok(flags)
    }
}

fn signals(text: &str) -> Result<Vec<Signal>, String> {
    let one = |name: &str| {
        let name = name.trim().trim_start_matches("SIG");
        format!("SIG{name}").parse().map_err(|_errno| format!("{name} is not a signal"))
    };
    text.split(',').map(one).collect()
}

/// `15s`, `250ms` or `2m`.
fn duration(text: &str) -> Result<Duration, String> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..end].parse().map_err(|error| format!("{text}: {error}"))?;
    match &text[end..] {
        "ms" => Ok(Duration::from_millis(number)),
        "s" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(60 * number)),
        _ => Err(format!("{text} is not a duration")),
    }
}
