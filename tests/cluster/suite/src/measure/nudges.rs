//! How nudges ended.

use std::time::Duration;

use super::table::Table;
use crate::space::holds_within;
use crate::{agent, audit};

/// By when the last one has ended.
const ENDED: Duration = Duration::from_secs(60);

/// From here on.
pub struct Nudges {
    mark: audit::Mark,
    before: Counts,
}

/// As the agent counts them.
struct Counts(Vec<(String, f64)>);

impl Counts {
    fn now() -> Self {
        let count = |result: &str| {
            let label = format!("result=\"{result}\"");
            (result.to_owned(), agent::metric("reloadlet_nudges_total", &[label]))
        };
        Self(["published", "unanswered", "throttled", "refused", "failed"].map(count).into())
    }

    fn since(self, before: &Self) -> Self {
        let counts = self.0.into_iter().zip(&before.0);
        Self(counts.map(|((result, now), (_, before))| (result, now - before)).collect())
    }

    fn sum(&self) -> f64 {
        self.0.iter().map(|(_, count)| count).sum()
    }
}

impl Nudges {
    /// Those that are sent from now on.
    pub fn start() -> Self {
        Self { mark: audit::mark(), before: Counts::now() }
    }

    /// None may be left without an answer, by the agent's count, nor be missing there.
    pub fn check(&self, table: &mut Table) {
        let count = || (self.sent(), Counts::now().since(&self.before));
        let (mut sent, mut counts) = count();
        holds_within(ENDED, || {
            (sent, counts) = count();
            counts.sum() >= sent
        });
        table.value("nudges, by the API server's log", format!("{sent:.0}"));
        let apart = (sent - counts.sum()).abs();
        table.limited_value("nudges by which the agent's count is apart from that", apart, 0.0);
        for (result, count) in counts.0 {
            if result == "published" {
                table.value("nudges that were followed by the newest version", format!("{count:.0}"));
            } else {
                table.limited_value(&format!("nudges {result}"), count, 0.0);
            }
        }
    }

    /// As the API server counts them.
    fn sent(&self) -> f64 {
        let sent = audit::since(self.mark).others.get("patch pods").copied().unwrap_or_default();
        f64::from(u32::try_from(sent).unwrap())
    }
}
