//! From changes and signals to numbers.

/// One change of one pod, in nanoseconds of boot time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    /// When the new generation was in place.
    pub(crate) renamed_at: u64,
    /// The kubelet's last step.
    pub(crate) settled_at: u64,
}

/// What came of changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples {
    /// From the kubelet's last step to the handler, in microseconds; sorted.
    sorted: Vec<f64>,
    pub(crate) changes: usize,
    /// Changes without a signal.
    pub(crate) lost: usize,
    /// Signals after the first of a change.
    pub(crate) twice: usize,
}

impl Samples {
    /// Takes in one pod's changes and the signals that it got, both in order. A signal belongs to the last change that
    /// was in place when it came.
    pub(crate) fn add(&mut self, changes: &[Change], signals: &[u64]) {
        self.changes += changes.len();
        for (index, change) in changes.iter().enumerate() {
            let next = changes.get(index + 1).map_or(u64::MAX, |next| next.renamed_at);
            let own = signals.iter().filter(|at| (change.renamed_at..next).contains(at));
            let own: Vec<u64> = own.copied().collect();
            match own.first() {
                Some(first) => self.sorted.push(micros(*first) - micros(change.settled_at)),
                None => self.lost += 1,
            }
            self.twice += own.len().saturating_sub(1);
        }
        self.sorted.sort_by(f64::total_cmp);
    }

    /// The value below which that share of the values lies, in microseconds.
    pub(crate) fn percentile(&self, share: usize) -> Option<f64> {
        let rank = (self.sorted.len() * share).div_ceil(100).max(1);
        self.sorted.get(rank - 1).copied()
    }
}

fn micros(ns: u64) -> f64 {
    // Whole nanoseconds of boot time fit into the 53 bits for 104 days; a difference stays exact enough after that.
    #[allow(clippy::cast_precision_loss)]
    {
        ns as f64 / 1e3
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_counts_for_the_change_before_it() {
        let change = |at| Change { renamed_at: at, settled_at: at + 100_000 };
        let changes = [change(1_000_000), change(2_000_000), change(3_000_000)];
        let mut samples = Samples::default();
        samples.add(&changes, &[1_150_000, 1_900_000, 3_110_000]);
        assert_eq!((samples.changes, samples.lost, samples.twice), (3, 1, 1));
        assert_eq!(samples.percentile(50), Some(10.0));
        assert_eq!(samples.percentile(100), Some(50.0));
        assert_eq!(Samples::default().percentile(50), None);
    }
}
