//! The logs of the bundled workload.

use std::path::Path;

use crate::error::{At, Error};

/// One line of a workload's log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogRecord {
    /// The process is up.
    Started {
        /// CLOCK_BOOTTIME in nanoseconds.
        at: u64,
    },
    /// Its signal handlers are installed.
    Ready {
        /// CLOCK_BOOTTIME in nanoseconds.
        at: u64,
    },
    /// A signal was caught.
    Signal {
        /// CLOCK_BOOTTIME in nanoseconds, at the entry of the handler.
        at: u64,
        /// E.g. `SIGHUP`.
        name: String,
        /// The first line of the file named by `--read`, read after the signal.
        read: Option<String>,
    },
}

/// Reads a workload's log; a file that isn't there yet is empty. A line that is being written is left out.
pub fn read_log(path: &Path) -> Result<Vec<LogRecord>, Error> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(Error::io("read", path, error)),
    };
    text.split_inclusive('\n')
        .filter(|line| line.ends_with('\n'))
        .map(|line| parse(line.trim_end()))
        .collect()
}

fn parse(line: &str) -> Result<LogRecord, Error> {
    let mut words = line.splitn(3, ' ');
    let (first, second) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let number = |text: &str| {
        text.parse::<u64>()
            .map_err(|error| Error::Malformed { what: line.to_owned(), message: error.to_string() })
    };
    Ok(match first {
        "started" => LogRecord::Started { at: number(second)? },
        "ready" => LogRecord::Ready { at: number(second)? },
        stamp => LogRecord::Signal {
            at: number(stamp)?,
            name: second.to_owned(),
            read: words.next().map(str::to_owned),
        },
    })
}

/// Reads a file that the workload's `--stamps` made: (CLOCK_BOOTTIME ns, signal number) in the order of arrival.
pub fn read_stamps(path: &Path) -> Result<Vec<(u64, u64)>, Error> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error).at("read", path),
    };
    let (records, _rest) = bytes.as_chunks::<24>();
    Ok(records
        .iter()
        .map(|record| {
            let (numbers, _none) = record.as_chunks::<8>();
            (u64::from_le_bytes(numbers[0]), u64::from_le_bytes(numbers[1]))
        })
        .collect())
}
