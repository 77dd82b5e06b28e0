//! Generations: the directories that the kubelet's AtomicWriter publishes.

use std::fmt;
use std::sync::Arc;

/// The name of the symbolic link to the current generation (kubelet `atomic_writer.go`, `dataDirName`).
pub const DATA_LINK: &str = "..data";

/// The name of a generation's directory: `..2006_01_02_15_04_05.` and decimal digits (kubelet `newTimestampDir`).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Generation(Arc<str>);

impl Generation {
    /// Accepts a name of that form only. The time in it is never used: it dates the start of the write, to a second.
    pub fn parse(name: &str) -> Option<Self> {
        const FORM: &[u8] = b"..dddd_dd_dd_dd_dd_dd.";
        let (stamp, suffix) = name.as_bytes().split_at_checked(FORM.len())?;
        let stamp_fits = stamp.iter().zip(FORM).all(|(byte, form)| match form {
            b'd' => byte.is_ascii_digit(),
            literal => byte == literal,
        });
        let suffix_fits = (1..=20).contains(&suffix.len()) && suffix.iter().all(u8::is_ascii_digit);
        (stamp_fits && suffix_fits).then(|| Self(name.into()))
    }

    /// The directory's name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_the_kubelets_form_are_generations() {
        for good in ["..2026_11_21_05_56_44.4086191884", "..2026_11_21_05_56_44.90550675"] {
            assert!(Generation::parse(good).is_some(), "{good}");
        }
        for bad in [
            "..data",
            "..data_tmp",
            "nginx.conf",
            "..2026_11_21_05_56_44.",
            "..2026_11_21_05_56_44.12a",
            "..2026_11_21_05_56.4408619188",
            "..2026_11_21_05_56_44.1/../x",
            "",
        ] {
            assert!(Generation::parse(bad).is_none(), "{bad}");
        }
    }
}
