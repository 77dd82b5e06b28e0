//! What a thread of a test has in memory: the allocator counts it, which only unsafe code can be.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, which counts.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    /// How many bytes the thread has allocated and not freed, and the most that it had since it was asked last. What it frees of another
    /// thread's counts, too.
    static BYTES: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

fn count(more: usize, less: usize) {
    let change = more.cast_signed().wrapping_sub(less.cast_signed());
    // A thread that ends has none of it any more.
    let counted = BYTES.try_with(|bytes| {
        let (now, most) = bytes.get();
        let now = now.wrapping_add(change);
        bytes.set((now, most.max(now)));
    });
    counted.unwrap_or_default();
}

// SAFETY: all is done by the system's allocator, to which each call goes as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: the caller's.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size, layout.size());
        // SAFETY: the caller's.
        unsafe { System.realloc(place, layout, size) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: the caller's.
        unsafe { System.dealloc(place, layout) }
    }
}

/// How many bytes more than at its begin this thread had meanwhile, at most.
pub(crate) async fn most_during<T>(work: impl Future<Output = T>) -> (T, usize) {
    let before = BYTES.with(|bytes| {
        let (now, _) = bytes.get();
        bytes.set((now, now));
        now
    });
    let done = work.await;
    let most = BYTES.with(|bytes| bytes.get().1);
    (done, most.saturating_sub(before).try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_freed_again_counts_as_long_as_it_was_there() {
        let work = async {
            let large = vec![1_u8; 1 << 20];
            tokio::task::yield_now().await;
            large.len()
        };
        let (length, most) = most_during(work).await;
        assert_eq!(length, 1 << 20);
        assert!((1 << 20..2 << 20).contains(&most), "{most}");
    }
}
