//! How far the API server's clock is from the node's, as far as one of its answers tells: each has a `Date`.

use std::time::Duration;

use hyper::header::{DATE, HeaderMap};
use jiff::fmt::rfc2822;
use reloadlet_core::Time;
use reloadlet_core::model::object::Updated;

/// A date is in whole seconds, rounded down.
const SECOND: i128 = 1_000_000_000;
/// By how much the clocks of several API servers are taken to differ: another one may have written what this one answers.
const AMONG_EACH_OTHER: i128 = SECOND;

/// By how many nanoseconds the API server's clock is ahead of the node's, at least and at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Skew {
    least: i128,
    most: i128,
}

impl Skew {
    /// What an answer tells that was asked for and came at these times of the node's wall clock.
    pub(super) fn of(headers: &HeaderMap, asked: Duration, came: Duration) -> Option<Self> {
        let date = rfc2822::parse(headers.get(DATE)?.to_str().ok()?).ok()?;
        let date = date.timestamp().as_nanosecond();
        let (asked, came) = (nanos(asked)?, nanos(came)?);
        Some(Self { least: date - came - AMONG_EACH_OTHER, most: date + SECOND - asked + AMONG_EACH_OTHER })
    }

    /// What was noted of an object, with what that is by the node's clock.
    pub(super) fn dated(self, updated: Updated) -> Updated {
        let between =
            |(earliest, latest)| (shifted(earliest, -self.most), shifted(latest, SECOND - self.least));
        let written = updated.written;
        Updated { between: Some(between((written, written))), made: updated.made.map(between), ..updated }
    }
}

/// A moment so many nanoseconds later.
fn shifted(time: Time, by: i128) -> Time {
    let distance = Duration::from_nanos(u64::try_from(by.unsigned_abs()).unwrap_or(u64::MAX));
    if by < 0 { time - distance } else { time + distance }
}

fn nanos(time: Duration) -> Option<i128> {
    i128::try_from(time.as_nanos()).ok()
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    fn skew(date: &'static str, asked: u64, came: u64) -> Option<Skew> {
        let headers = HeaderMap::from_iter([(DATE, HeaderValue::from_static(date))]);
        Skew::of(&headers, Duration::from_millis(asked), Duration::from_millis(came))
    }

    #[test]
    fn an_answers_date_bounds_how_far_the_clocks_are_apart() {
        // 1000 s after the epoch, by a clock that is 5 s ahead, and by one that is 5 s behind.
        for (date, ahead) in [("Thu, 01 Jan 1970 00:16:45 GMT", 5), ("Thu, 01 Jan 1970 00:16:35 GMT", -5)] {
            let skew = skew(date, 1_000_100, 1_000_200).unwrap();
            let at = |second: i64| Time::since_boot(Duration::from_secs(second.unsigned_abs()));
            let written = Updated {
                written: at(500 + ahead),
                between: None,
                made: Some((at(400 + ahead), at(400 + ahead))),
            };
            let dated = skew.dated(written);
            let (earliest, latest) = dated.between.unwrap();
            assert!(earliest <= at(500) && at(501) <= latest, "{dated:?}");
            assert!(latest.since(earliest) <= Duration::from_secs(5), "{dated:?}");
            let (earliest, latest) = dated.made.unwrap();
            assert!(earliest <= at(400) && at(401) <= latest && dated.written == written.written);
        }
        assert_eq!(skew("soon", 0, 0), None);
        assert_eq!(Skew::of(&HeaderMap::new(), Duration::ZERO, Duration::ZERO), None);
    }
}
