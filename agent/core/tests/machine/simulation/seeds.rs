//! Simulations of many seeds, a few at a time.

use std::sync::atomic::{AtomicU64, Ordering};

/// Says with which seed something failed.
struct Named(u64);

impl Drop for Named {
    #[expect(clippy::print_stderr, reason = "the seed of a failure")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("RELOADLET_SEED={} repeats this", self.0);
        }
    }
}

/// A number out of the environment.
fn asked(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap())
}

/// Simulates so many seeds, or those that the environment names; what each of them counts is summed up. `None` where it names one seed
/// alone, of which not everything has to happen.
pub(crate) fn simulate<const N: usize>(
    count: u64,
    simulation: impl Fn(u64) -> [u32; N] + Sync,
) -> Option<[u32; N]> {
    let named = |seed| {
        let _named = Named(seed);
        simulation(seed)
    };
    if let Some(seed) = asked("RELOADLET_SEED") {
        named(seed);
        return None;
    }
    let first = asked("RELOADLET_FIRST_SEED").unwrap_or(1);
    let next = AtomicU64::new(first);
    let end = first + asked("RELOADLET_SEEDS").unwrap_or(count);
    let add = |some: [u32; N], more: [u32; N]| std::array::from_fn(|i| some[i] + more[i]);
    let some = || {
        let seeds = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed));
        seeds.take_while(|seed| *seed < end).map(named).fold([0; N], add)
    };
    let counts: Vec<[u32; N]> = std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(some)).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    Some(counts.into_iter().fold([0; N], add))
}
