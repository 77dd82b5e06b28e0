//! The signals that may be sent.

use std::fmt;

/// What may be written for a signal, for sentences about values that are not.
pub const ALLOWED: &str = "HUP, INT, QUIT, TERM, USR1, USR2, WINCH, CONT or RTMIN+0 to RTMIN+30";

/// `SIGRTMIN` of glibc, which keeps the kernel's first two real-time signals (32 and 33) for its threads.
const RTMIN: i32 = 34;
/// `SIGRTMAX`.
const RTMAX: i32 = 64;

/// The allowed signals with a name, by the numbers of every architecture that Kubernetes runs on.
const NAMED: [(&str, i32); 8] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("USR1", 10),
    ("USR2", 12),
    ("TERM", 15),
    ("CONT", 18),
    ("WINCH", 28),
];

/// A signal that may be sent. No other can be written as a value of this type.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(i32);

/// A text that names no allowed signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an allowed signal: {ALLOWED}")]
pub struct SignalError;

impl Signal {
    /// `SIGHUP`.
    pub const HUP: Self = Self(1);
    /// `SIGQUIT`.
    pub const QUIT: Self = Self(3);
    /// `SIGUSR1`.
    pub const USR1: Self = Self(10);
    /// `SIGUSR2`.
    pub const USR2: Self = Self(12);
    /// `SIGTERM`.
    pub const TERM: Self = Self(15);

    /// Whether programs take it for the word to end, if they do anything about it: SIGINT, SIGQUIT or SIGTERM.
    pub const fn is_to_end(self) -> bool {
        matches!(self.0, 2 | 3 | 15)
    }

    /// Reads `SIGHUP`, `hup`, `1`, `RTMIN+3` and the like.
    pub fn parse(text: &str) -> Result<Self, SignalError> {
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            return Self::from_number(whole(text).ok_or(SignalError)?).ok_or(SignalError);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some((_, number)) = NAMED.iter().find(|(known, _)| *known == name) {
            return Ok(Self(*number));
        }
        let above = match name.strip_prefix("RTMIN").ok_or(SignalError)? {
            "" => 0,
            rest => rest.strip_prefix('+').and_then(whole).ok_or(SignalError)?,
        };
        RTMIN.checked_add(above).and_then(Self::from_number).ok_or(SignalError)
    }

    /// The signal with this number, if it is an allowed one.
    pub fn from_number(number: i32) -> Option<Self> {
        let allowed = (RTMIN..=RTMAX).contains(&number) || NAMED.iter().any(|(_, known)| *known == number);
        allowed.then_some(Self(number))
    }

    /// Whether `/proc/<pid>/stat` tells of it: its masks have the first 31 signals only.
    pub const fn is_in_stat(self) -> bool {
        self.0 < 32
    }

    /// Whether nothing comes of it in a process that has no handler for it: the kernel drops SIGWINCH, and SIGCONT has a process
    /// go on that was stopped (signal(7)). Any other one ends the process.
    pub const fn is_harmless(self) -> bool {
        matches!(self.0, 18 | 28)
    }

    /// Its number.
    pub const fn number(self) -> i32 {
        self.0
    }
}

/// A whole number without sign and without leading zeros.
fn whole(digits: &str) -> Option<i32> {
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    plain.then(|| digits.parse().ok())?
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMED.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => write!(f, "SIG{name}"),
            None => write!(f, "SIGRTMIN+{}", self.0 - RTMIN),
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a signal annotation asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SignalChoice {
    /// Send this signal.
    Send(Signal),
    /// `none`: measure, never signal.
    Measure,
}

impl SignalChoice {
    /// Reads a signal, or `none`.
    pub fn parse(text: &str) -> Result<Self, SignalError> {
        if text.eq_ignore_ascii_case("none") {
            return Ok(Self::Measure);
        }
        Signal::parse(text).map(Self::Send)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn signals_are_read_by_name_and_number() {
        for (text, number, shown) in [
            ("SIGHUP", 1, "SIGHUP"),
            ("hup", 1, "SIGHUP"),
            ("HUP", 1, "SIGHUP"),
            ("1", 1, "SIGHUP"),
            ("SigTerm", 15, "SIGTERM"),
            ("USR1", 10, "SIGUSR1"),
            ("12", 12, "SIGUSR2"),
            ("winch", 28, "SIGWINCH"),
            ("CONT", 18, "SIGCONT"),
            ("INT", 2, "SIGINT"),
            ("QUIT", 3, "SIGQUIT"),
            ("RTMIN", 34, "SIGRTMIN+0"),
            ("RTMIN+0", 34, "SIGRTMIN+0"),
            ("RTMIN+3", 37, "SIGRTMIN+3"),
            ("sigrtmin+3", 37, "SIGRTMIN+3"),
            ("37", 37, "SIGRTMIN+3"),
            ("SIGRTMIN+30", 64, "SIGRTMIN+30"),
        ] {
            let signal = Signal::parse(text).unwrap_or_else(|_| panic!("{text}"));
            assert_eq!((signal.number(), signal.to_string().as_str()), (number, shown), "{text}");
        }
    }

    #[test]
    fn everything_else_is_refused() {
        for text in [
            "",
            " ",
            "KILL",
            "9",
            "SIGSTOP",
            "19",
            "SEGV",
            "0",
            "-1",
            "+1",
            "01",
            "1 ",
            " HUP",
            "HUP\n",
            "SIGSIGHUP",
            "SIG",
            "32",
            "33",
            "65",
            "RTMIN+31",
            "RTMIN-1",
            "RTMIN+",
            "RTMIN+03",
            "RTMIN3",
            "RTMIN++3",
            "RTMAX",
            "RTMIN+99999999999999999999",
            "99999999999999999999",
            "ſighup",
            "none",
        ] {
            assert_eq!(Signal::parse(text), Err(SignalError), "{text:?}");
        }
    }

    #[test]
    fn none_measures() {
        assert_eq!(SignalChoice::parse("none"), Ok(SignalChoice::Measure));
        assert_eq!(SignalChoice::parse("None"), Ok(SignalChoice::Measure));
        assert_eq!(SignalChoice::parse("hup"), Ok(SignalChoice::Send(Signal::HUP)));
        assert_eq!(SignalChoice::parse(""), Err(SignalError));
    }

    #[test]
    fn exactly_the_allowed_signals_have_a_value() {
        let allowed: Vec<i32> = (-1..200).filter_map(Signal::from_number).map(Signal::number).collect();
        let named = [1, 2, 3, 10, 12, 15, 18, 28];
        assert_eq!(allowed, named.into_iter().chain(34..=64).collect::<Vec<_>>());
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(number in 0..70) {
            if let Some(signal) = Signal::from_number(number) {
                prop_assert_eq!(Signal::parse(&signal.to_string()), Ok(signal));
                prop_assert_eq!(Signal::parse(&signal.to_string().to_lowercase()), Ok(signal));
                prop_assert_eq!(Signal::parse(&number.to_string()), Ok(signal));
            }
        }

        #[test]
        fn no_text_makes_it_panic_or_names_another_signal(text in "(?i)(SIG|RTMIN|[A-Z0-9+-]{0,4}|.){0,3}") {
            if let Ok(signal) = Signal::parse(&text) {
                prop_assert!(Signal::from_number(signal.number()).is_some());
            }
        }
    }
}
