//! From the API server's answer to the swap, and to the application's handler: the kubelet by itself, and nudged.

use super::fleet::{Fleet, Member};
use super::reader::{Priority, Reader};
use super::samples::Samples;
use super::table::Table;

/// What a nudged kubelet may take, in seconds.
const ACCELERATED_SECONDS: f64 = 1.0;

/// Whether the kubelet is nudged.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Way {
    /// It looks at each pod once in 60 to 90 s.
    Default,
    /// The pods ask for acceleration, and the agent may.
    Accelerated,
}

impl Way {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Accelerated => "accelerated",
        }
    }
}

/// Changes all pods so many times, and waits each time until all have been told.
pub fn measure(fleet: &mut Fleet, way: Way, changes: usize, table: &mut Table) {
    let (mut swaps, mut handlers) = (Vec::new(), Vec::new());
    for _ in 0..changes {
        let reader = Reader::start(Priority::First, fleet.members().iter().map(Member::volume));
        let told: Vec<usize> = fleet.members().iter().map(|member| member.stamps().len()).collect();
        let answered = fleet.change();
        let seen = reader.stop();
        for ((member, before), seen) in fleet.members().iter().zip(told).zip(seen) {
            assert_eq!(seen.len(), 1, "{}: publications of one change", member.name);
            let stamps = member.stamps();
            assert_eq!(stamps.len(), before + 1, "{}: signals for one change", member.name);
            swaps.push(seconds(answered, seen[0].swapped));
            handlers.push(seconds(answered, stamps[before]));
        }
    }
    let name = way.as_str();
    let (swaps, handlers) = (Samples::new(swaps), Samples::new(handlers));
    let (to_swap, to_handler) =
        (format!("{name}: answer to swap, s"), format!("{name}: answer to the handler, s"));
    match way {
        Way::Default => {
            table.spread(&to_swap, swaps);
            table.spread(&to_handler, handlers);
        }
        Way::Accelerated => {
            table.limited_spread(&to_swap, swaps, ACCELERATED_SECONDS);
            table.limited_spread(&to_handler, handlers, ACCELERATED_SECONDS);
        }
    }
}

/// How each nudge ended, as the agent counts them: none may be left without an answer.
pub fn check_nudges(table: &mut Table) {
    let count =
        |result: &str| crate::agent::metric("reloadlet_nudges_total", &[format!("result=\"{result}\"")]);
    table.value("nudges that were followed by the newest version", format!("{:.0}", count("published")));
    for result in ["unanswered", "throttled", "refused", "failed"] {
        table.limited_value(&format!("nudges {result}"), count(result), 0.0);
    }
}

/// Nothing is before the answer: a kubelet that looks in that very moment took no time.
fn seconds(from: u64, to: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "they are moments of one run")]
    let nanos = to.saturating_sub(from) as f64;
    nanos / 1e9
}
