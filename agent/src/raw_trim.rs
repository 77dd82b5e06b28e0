//! Memory that isn't used any more goes back to the kernel (`malloc_trim(3)`): a call that neither rustix nor nix has.
#![allow(unsafe_code)]

/// Gives it back. glibc by itself does so at the end of its heap alone: after a long list what was needed to read it lies between what is
/// kept, and the process looks twice as large. Other libraries have no such call, and nothing is done.
pub(crate) fn trim() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes a number of bytes to leave, and touches nothing that is in use.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resident() -> usize {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        4096 * statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap()
    }

    #[test]
    fn what_lies_between_what_is_kept_is_given_back() {
        // Small enough to be taken from the heap, each of the first kind beside one of the other.
        let (mut kept, mut freed): (Vec<Vec<u8>>, Vec<Vec<u8>>) = Default::default();
        for _ in 0..2_000 {
            freed.push(vec![1; 60_000]);
            kept.push(vec![1; 100]);
        }
        drop(freed);
        let before = resident();
        trim();
        let after = resident();
        assert_eq!(kept.len(), 2_000);
        assert!(before > after + (60 << 20), "{before} {after}");
    }
}
