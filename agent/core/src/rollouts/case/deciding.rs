//! What is done about what differs.

use std::time::Duration;

use crate::model::time::Time;
use crate::policy::reloader::{Form, Hold, Idle, Pods, Rest, Update};
use crate::policy::rollout::Manner;
use crate::rollouts::contents::Contents;
use crate::rollouts::event::{Disruption, Listed, Obstacle, Pod, Report, Wait};
use crate::rollouts::found::{Found, Sight};
use crate::rollouts::next::{Next, Whose};
use crate::rollouts::pods::Listing;
use crate::rollouts::record::{Prints, Record};
use crate::rollouts::restarting::Stale;
use crate::rollouts::rules::{self, Asks};
use crate::rollouts::settings::Options;
use crate::rollouts::workload::{Progress, WorkloadRef};

use super::Case;

/// Pods, and contents, that came longer ago than this decide nothing, where the API server answers soon.
const FRESH: Duration = Duration::from_secs(5);
/// Nor do those that came longer ago than this where it takes long to list pods.
const STILL_FRESH: Duration = Duration::from_secs(120);
/// How often a change that isn't taken is tried, within half a minute, until it keeps nobody else waiting.
const PATIENT: u32 = 5;
/// How often a pod is looked at that ends late.
const AGAIN: Duration = Duration::from_secs(30);

impl Case {
    /// What is done about what differs.
    pub(super) fn decide(
        &self,
        who: &WorkloadRef,
        record: &Record,
        options: &Options,
        found: &Found,
        contents: &mut Contents,
        now: Time,
    ) -> Next {
        let (Some(changed), Some((uses, _))) = (&self.changed, &self.uses) else { return Next::Rest };
        let asks = Asks {
            namespace: &who.namespace,
            workload: &self.workload,
            rolls: self.asked.rolls,
            annotations: options.looks.annotations,
            uses,
        };
        let causes = || -> Prints {
            changed.objects.iter().map(|object| (object.clone(), found.whole(object))).collect()
        };
        let settled =
            |causes: Option<Prints>| Next::Write(Some(record.holds(changed.wanted.clone(), causes)), None);
        let debounce = match rules::rest(asks, &changed.objects, found, contents, Pods::default()) {
            // Some may be left, which stay if it is scaled up before they are ended.
            Rest::Nothing(Idle::NoPods) if self.workload.progress != Progress::Available => {
                return Next::Wait(Wait::Rolling, None);
            }
            Rest::Nothing(_) => return settled(None),
            Rest::Tell(telling) => return Next::Tell(Report::Stale(telling)),
            Rest::Hold(_) => return Next::Busy(None),
            Rest::Roll { debounce, partition: _ } => {
                self.asked.debounce.or(debounce).unwrap_or(options.debounce)
            }
        };
        let quiet = changed.quiet(debounce);
        if now < quiet {
            return Next::Wait(Wait::Debounce, Some(quiet));
        }
        if let Some(until) = self.put_off(now) {
            // What is refused for a moment keeps its place.
            let is_long = self.failures > PATIENT;
            return if is_long { Next::Wait(Wait::Refused, Some(until)) } else { Next::Busy(Some(until)) };
        }
        let is_own = self.is_broken_by_roll(record);
        // By its pods it is seen whether it is by its own restart.
        let may_be_own = is_own || record.partial().is_some();
        // Its pods change by themselves meanwhile.
        match self.workload.progress {
            Progress::Rolling if !is_own => return Next::Wait(Wait::Rolling, None),
            Progress::Unavailable | Progress::Late if !may_be_own => {
                return Next::Wait(Wait::Unavailable, None);
            }
            Progress::Available | Progress::Rolling | Progress::Unavailable | Progress::Late => {}
        }
        if self.has_failed_with(record, &changed.wanted) {
            return Next::Wait(Wait::Failed, None);
        }
        let took = if let Listing::Known(known) = &self.pods { known.took } else { Duration::ZERO };
        // Both are needed, and what came first waits for what comes next.
        let oldest = now - (FRESH + 2 * took).min(STILL_FRESH);
        let known = match &self.pods {
            Listing::Known(known)
                if known.asked >= quiet && known.came >= oldest && known.edition == self.edition =>
            {
                known
            }
            Listing::Known(known)
                if known.edition == self.edition && known.waits_for.as_ref() == Some(&changed.wanted) =>
            {
                return Next::Almost { causes: causes() };
            }
            Listing::Asked(..) => return Next::Busy(None),
            Listing::Known(_) | Listing::Unknown => {
                return match self.unlisted_until(now) {
                    Some(until) => Next::Wait(Wait::Pods, Some(until)),
                    None => Next::ListPods,
                };
            }
        };
        // Watches can lag behind: what is rolled for is what there is now.
        match Found::of(uses, &who.namespace, contents, quiet, oldest) {
            Sight::Known(newest) if newest.wanted(uses) == changed.wanted => {}
            Sight::Known(_) | Sight::Unknown | Sight::NoRoom | Sight::Unfit(_) => return Next::Busy(None),
        }
        // Whatever those below the partition hold, no roll brings them anything else; and where a roll is under way, the others are replaced
        // already.
        let first = if let Form::StatefulSet(Update::Partition(partition)) = self.workload.form {
            partition.from
        } else {
            0
        };
        let counts =
            |pod: &&Pod| (pod.is_current || !is_own) && pod.ordinal.is_none_or(|ordinal| ordinal >= first);
        if let Some(next) = self.before_turn(record, &changed.wanted, &known.listed, now) {
            return next;
        }
        let partial = record.partial().filter(|roll| roll.wanted == changed.wanted);
        let restart = partial.map(|roll| &roll.marker);
        let beginnings = found.beginnings(record.held());
        let stale = known.listed.pods.iter().filter(counts).filter_map(|pod| {
            let containers = self.stale_of(changed, uses, &beginnings, pod, restart, now);
            (!containers.is_empty()).then_some((pod, containers))
        });
        let stale: Vec<Stale<'_>> = stale.collect();
        let is_own = is_own || is_broken_in_place(record, &known.listed);
        let pods = Pods {
            have_baseline: true,
            are_stale: !stale.is_empty(),
            are_rolled: self.workload.progress == Progress::Rolling && !is_own,
            are_available: self.workload.progress == Progress::Available || is_own,
            can_be_disrupted: known.listed.disruption == Disruption::Allowed || is_own,
        };
        let waits = match rules::rest(asks, &changed.objects, found, contents, pods) {
            Rest::Nothing(_) if record.partial().is_some() => {
                return self.restarted(record, &changed.wanted, &known.listed, causes(), now);
            }
            Rest::Nothing(_) => return settled(is_own.then(causes)),
            Rest::Tell(telling) => return Next::Tell(Report::Stale(telling)),
            Rest::Hold(Hold::Rolling) => Some(Wait::Rolling),
            Rest::Hold(Hold::Unavailable) => Some(Wait::Unavailable),
            Rest::Hold(Hold::Budget) => Some(Wait::Disruption),
            Rest::Roll { .. } => None,
        };
        let is_immutable = changed
            .objects
            .iter()
            .any(|object| found.content(object).is_some_and(|content| content.is_immutable));
        let restart = record.restarting().and(partial);
        let ready = |turn| Next::Ready { wanted: changed.wanted.clone(), causes: causes(), waits, turn };
        if waits.is_none()
            && self.asked.manner == Manner::InPlace
            && let Some(watched) = self.unheard(&known.listed, options.limit, now)
        {
            return Next::Watch(watched);
        }
        let ends_late = |pod: &Pod| self.ends_late(pod, options.limit, now);
        match waits {
            None if self.asked.manner == Manner::InPlace && known.listed.pods.iter().any(ends_late) => {
                Next::Stuck { obstacle: Obstacle::StillRuns, until: Some(now + AGAIN) }
            }
            // Nobody's turn comes before that is over.
            Some(_) => ready(Whose::Template(None)),
            None => self.turn(stale, &known.listed, restart, is_immutable, now, ready),
        }
    }

    /// Whether it isn't available by its own roll, of which a new one may help.
    fn is_broken_by_roll(&self, record: &Record) -> bool {
        let mut broken = record.broken_by().filter(|roll| !roll.is_in_place);
        broken.any(|roll| self.workload.marker.as_ref() == Some(&roll.marker))
    }
}

/// Whether all pods that aren't ready are so by a restart in place, which a new one may help.
fn is_broken_in_place(record: &Record, listed: &Listed) -> bool {
    let markers = || record.broken_by().filter(|roll| roll.is_in_place).map(|roll| &roll.marker);
    let is_mine = |pod: &Pod| markers().any(|marker| pod.granted(marker).is_some());
    let broken = || listed.pods.iter().filter(|pod| !pod.is_terminating && !pod.is_ready);
    broken().next().is_some() && broken().all(is_mine)
}
