//! From samples to numbers.

/// Values of one thing, sorted.
#[derive(Clone, Debug)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn new(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        assert!(!values.is_empty(), "nothing was measured");
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The value below which that share of the values lies.
    pub(crate) fn percentile(&self, share: usize) -> f64 {
        let rank = (self.0.len() * share).div_ceil(100).max(1);
        self.0[rank - 1]
    }
}

/// Nanoseconds from one moment to another, or back, in microseconds.
#[allow(clippy::cast_precision_loss, reason = "they are moments of one run")]
pub(crate) fn micros_between(from: u64, to: u64) -> f64 {
    (to.cast_signed() - from.cast_signed()) as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_the_smallest_value_that_so_many_dont_exceed() {
        let samples = Samples::new((1..=200).rev().map(f64::from));
        assert_eq!(samples.count(), 200);
        assert_eq!([50, 90, 99, 100].map(|share| samples.percentile(share)), [100.0, 180.0, 198.0, 200.0]);
        assert_eq!(Samples::new([7.0]).percentile(1), 7.0);
    }

    #[test]
    fn what_was_first_makes_no_difference_but_the_sign() {
        assert_eq!([micros_between(1_000, 3_500), micros_between(3_500, 1_000)], [2.5, -2.5]);
    }
}
