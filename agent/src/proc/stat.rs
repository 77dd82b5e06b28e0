//! `/proc/<pid>/stat`, as the crate procfs reads it: of tenants' processes and of the agent itself.

use std::time::Duration;

use procfs::FromRead;
use reloadlet_core::Time;
use reloadlet_core::kernel::procfs::{SignalSet, Stat, Status};

/// What the text of `stat` says; `None` when it can't be understood.
pub(crate) fn parse(text: &[u8]) -> Option<procfs::process::Stat> {
    if !has_its_form(text) {
        return None;
    }
    procfs::process::Stat::from_read(text).ok()
}

/// Whether it is `<pid> (<name>) <state>…`, whatever the name is: procfs takes the bytes around the parentheses for
/// granted, and panics where they aren't there.
fn has_its_form(text: &[u8]) -> bool {
    let Some(open) = text.iter().position(|byte| *byte == b'(') else { return false };
    let Some(close) = text.iter().rposition(|byte| *byte == b')') else { return false };
    let (pid, rest) = (text.get(..open), text.get(close + 1..).unwrap_or_default());
    let pid = pid.and_then(|pid| pid.strip_suffix(b" ")).unwrap_or_default();
    let is_number = !pid.is_empty() && pid.iter().all(u8::is_ascii_digit);
    let has_state = matches!(rest, [b' ', state, ..] if state.is_ascii_alphabetic());
    open < close && is_number && has_state
}

/// The flag of a thread that is ending (kernel `include/linux/sched.h`, `PF_EXITING`).
const EXITING: u32 = 4;

/// Whether a thread is ending. It takes no signal any more, and its process may take a while to be gone: it gives its memory back
/// first.
pub(super) fn is_exiting(stat: &procfs::process::Stat) -> bool {
    stat.flags & EXITING != 0
}

/// What tells a process from others.
pub(super) fn facts(stat: procfs::process::Stat) -> Option<Stat> {
    let millis = stat.starttime.checked_mul(1000)? / procfs::ticks_per_second().max(1);
    let (state, parent) = (stat.state, u32::try_from(stat.ppid).ok()?);
    let threads = u32::try_from(stat.num_threads).ok()?;
    let started = Time::since_boot(Duration::from_millis(millis));
    Some(Stat { comm: stat.comm, state, parent, started, threads })
}

/// The state, the memory and the masks of the first 31 signals, without what waits and without the namespaces' PIDs. `stat` is short whatever the
/// process does, while `status` lists up to 65,536 groups before its masks.
pub(super) fn masks(stat: procfs::process::Stat) -> Option<Status> {
    Some(Status {
        state: stat.state,
        memory: stat.vsize >> 10,
        threads: u32::try_from(stat.num_threads).ok()?,
        blocked: SignalSet::from_bits(stat.blocked),
        ignored: SignalSet::from_bits(stat.sigignore),
        caught: SignalSet::from_bits(stat.sigcatch),
        comm: stat.comm,
        ..Status::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn facts_of(text: &[u8]) -> Option<Stat> {
        parse(text).and_then(facts)
    }

    fn masks_of(text: &[u8]) -> Option<Status> {
        parse(text).and_then(masks)
    }

    /// The fields from the parent on.
    const REST: &str = "8423 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 12345 1 1 18446744073709551615 1 2 3 4 5 0 1 4 65538 \
                        0 0 0 17 1 0 0 0 0 0 1 2 3 4 5 6 7 0";

    fn named(comm: &[u8]) -> Vec<u8> {
        [b"8505 (", comm, b") S ", REST.as_bytes(), b"\n"].concat()
    }

    #[test]
    fn a_name_with_spaces_and_parentheses_doesnt_shift_the_fields() {
        for comm in [
            "sh) (x) y",
            "a) S 1 2 3 (",
            "((()))",
            "",
            ") ) ) )",
            "a b\nc\\",
            "runc:[2:INIT]",
            "ñé)漢",
            "\t\x0b ) R ",
        ] {
            let stat = facts_of(&named(comm.as_bytes())).unwrap();
            assert_eq!((stat.comm.as_str(), stat.state, stat.parent), (comm, 'S', 8423));
            assert_eq!(stat.started, Time::since_boot(Duration::from_millis(123_450)));
            assert!(!stat.is_dead());
        }
    }

    #[test]
    fn a_name_that_is_no_text_doesnt_shift_the_fields() {
        for comm in [&b"\xff\xfe\x80)("[..], b")\xc3", b"\xf0\x9f("] {
            let stat = facts_of(&named(comm)).unwrap();
            assert_eq!(
                (stat.comm, stat.state, stat.parent),
                (String::from_utf8_lossy(comm).into_owned(), 'S', 8423)
            );
        }
    }

    #[test]
    fn a_process_of_this_kernel_with_a_hostile_name_is_read() {
        let read = |file: &str| std::fs::read(format!("/proc/thread-self/{file}")).unwrap();
        let name = |comm: &[u8]| std::fs::write("/proc/thread-self/comm", comm).unwrap();
        let before = facts_of(&read("stat")).unwrap();
        for comm in
            [&b"a) S 1 2 3 ("[..], b"\xff\xfe) Z ", b") ) ) )", b"\t\x0b ) R ", b"\\n\n\\ \r", b"Name:\tb\n"]
        {
            name(comm);
            let stat = facts_of(&read("stat")).unwrap();
            assert_eq!((stat.parent, stat.started, stat.is_dead()), (before.parent, before.started, false));
            assert_eq!(stat.comm, String::from_utf8_lossy(comm));
            let status = Status::parse(&String::from_utf8_lossy(&read("status"))).unwrap();
            assert_eq!(status.comm, stat.comm, "whichever it is read from");
        }
        name(before.comm.as_bytes());
    }

    #[test]
    fn stat_gives_the_masks_of_the_first_31_signals() {
        let status = masks_of(&named(b"a) b")).unwrap();
        assert_eq!((status.comm.as_str(), status.threads), ("a) b", 3));
        assert!(status.blocked.contains(1) && status.ignored.contains(3));
        assert!(status.caught.contains(2) && status.caught.contains(17) && !status.caught.contains(1));
        assert_eq!(masks_of(b"8505 (sh) S 8423 1"), None);
    }

    #[test]
    fn what_is_no_stat_is_none() {
        for text in
            ["", "(", ")", "(a)", "7 (a", "7 (a)", "7 )a( S 1", "7(a) S 1", "7 (a)é", "7 (a) ", "x (a) S 1"]
        {
            assert!(parse(text.as_bytes()).is_none(), "{text}");
        }
        let whole = named(b"sh");
        for cut in 0..100 {
            assert!(parse(&whole[..cut]).is_none(), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn no_stat_makes_it_panic(text in "[0-9]{0,6} ?\\(?.{0,8}\\)? ?[A-Z]?( [0-9]{0,22}){0,50}|.{0,40}") {
            if let Some(stat) = facts_of(text.as_bytes()) {
                prop_assert!(text.contains(&stat.comm));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(text in proptest::collection::vec(prop_oneof![Just(b'('), Just(b')'), Just(b' '), any::<u8>()], 0..60)) {
            prop_assert!(parse(&text).is_none());
        }

        #[test]
        fn a_whole_stat_with_a_changed_byte_is_none_or_has_its_name(
            comm in proptest::collection::vec(any::<u8>(), 0..20),
            at in 0_usize..200,
            byte in any::<u8>(),
        ) {
            let mut text = named(&comm);
            let at = at % text.len();
            text[at] = byte;
            if let Some(stat) = facts_of(&text) {
                let open = text.iter().position(|byte| *byte == b'(').unwrap();
                let close = text.iter().rposition(|byte| *byte == b')').unwrap();
                prop_assert_eq!(stat.comm, String::from_utf8_lossy(&text[open + 1..close]));
            }
        }
    }
}
