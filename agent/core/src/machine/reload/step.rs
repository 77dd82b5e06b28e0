//! What a waiting reload needs next: a pure look at what is known.

use super::*;

impl Target {
    /// What to do next, at this time. `digest_of` gives a generation's digest where one is needed: `None` while it is
    /// being read.
    pub(crate) fn step(
        &self,
        now: Time,
        waits: Waits,
        send_unhandled: bool,
        surveying: bool,
        digest_of: impl Fn(&Name, &Generation) -> NeededDigest,
    ) -> Step {
        let patient = surveying || self.missing.is_none_or(|retry| now < retry.since + PATIENCE);
        if self.sending.is_some() {
            return Step::Await;
        }
        if !self.is_waiting() {
            return Step::Idle;
        }
        if let Some(step) = self.compare(digest_of) {
            return step;
        }
        let baseline = self.new_and_read();
        if !baseline.is_empty() {
            return Step::Baseline(baseline);
        }
        if self.is_held() {
            let reason =
                "two deliveries in a row were followed by an exit; change an annotation to try again";
            return Step::End(self.waiting_volumes(|_, _| true), Outcome::Held, Some(reason));
        }
        let due = self.due(waits);
        if now < due {
            return Step::Until(due);
        }
        match &self.resolution {
            Resolution::Found(resolved) if !self.stale_choice => {
                self.step_with(resolved, now, send_unhandled)
            }
            // A survey that is on its way may still find it.
            Resolution::Missing(why) if !patient && !why.is_unknown() => self.end_without_process(*why),
            Resolution::Found(_) | Resolution::Missing(_) | Resolution::Unknown => Step::Survey,
        }
    }

    fn compare(&self, digest_of: impl Fn(&Name, &Generation) -> NeededDigest) -> Option<Step> {
        let mut same: BTreeMap<Outcome, Vec<Name>> = BTreeMap::new();
        for (name, volume) in &self.volumes {
            let Some(pending) = &volume.pending else { continue };
            match digest_of(name, &pending.generation) {
                NeededDigest::NotNeeded => {}
                NeededDigest::Reading => return Some(Step::Await),
                NeededDigest::Excluded => same.entry(Outcome::Excluded).or_default().push(name.clone()),
                NeededDigest::Known(digest, outcome) => {
                    let is_same = digest.is_some() && digest == volume.told;
                    if is_same && self.youngest().is_some_and(|started| started + START_DOUBT < pending.since)
                    {
                        same.entry(outcome).or_default().push(name.clone());
                    }
                }
            }
        }
        same.pop_first().map(|(outcome, names)| Step::End(names, outcome, None))
    }

    /// When the last of the container's processes started.
    fn youngest(&self) -> Option<Time> {
        match &self.resolution {
            Resolution::Found(resolved) => {
                let told = resolved.told.iter().map(|process| process.identity.started);
                told.chain([resolved.first.started]).max()
            }
            Resolution::Unknown | Resolution::Missing(_) => None,
        }
    }

    /// Volumes that are new to the journal and whose generation the container has read at its start.
    fn new_and_read(&self) -> Vec<Name> {
        let Resolution::Found(resolved) = &self.resolution else { return Vec::new() };
        let started = resolved.first.started;
        self.waiting_volumes(|_, pending| pending.only_if_older && started + START_DOUBT >= pending.settled)
    }

    fn end_without_process(&self, why: NoProcess) -> Step {
        let fresh = self.waiting_volumes(|_, pending| pending.only_if_older);
        if !fresh.is_empty() {
            return Step::Baseline(fresh);
        }
        let outcome = if self.lost { Outcome::Gone } else { Outcome::NoProcess };
        Step::End(self.waiting_volumes(|_, _| true), outcome, Some(why.sentence()))
    }

    fn step_with(&self, resolved: &Resolved, now: Time, send_unhandled: bool) -> Step {
        let started = resolved.first.started;
        let read = self.waiting_volumes(|_, pending| started > pending.settled + START_DOUBT);
        if !read.is_empty() {
            return Step::End(read, Outcome::StartedAfter, None);
        }
        let blind = self.waiting_volumes(|name, _| {
            resolved.views.get(name).is_some_and(|view| matches!(view, View::Frozen | View::Dead))
        });
        if !blind.is_empty() {
            return Step::End(blind, Outcome::NoProcess, Some(NoProcess::StaleMount.sentence()));
        }
        if resolved.told.iter().any(|process| !process.held) {
            return Step::Await;
        }
        let grown = resolved.told.iter().map(|process| process.identity.started + YOUNG).max();
        if let Some(grown) = grown.filter(|grown| now < *grown) {
            return Step::Until(grown);
        }
        if let Some(retry) = self.unhandled.filter(|retry| now < retry.next) {
            return Step::Until(retry.next);
        }
        self.guarded_step(resolved, now, send_unhandled)
    }

    fn guarded_step(&self, resolved: &Resolved, now: Time, send_unhandled: bool) -> Step {
        let newest_swap = self.pending().map(|(_, pending)| pending.swapped).max().unwrap_or_default();
        let oldest_use = newest_swap.max(now - GUARD_AGE).max(self.unhandled.map_or(newest_swap, |r| r.next));
        let mut unread = false;
        let mut to_ask = Vec::new();
        let mut handled = Vec::new();
        let mut refused = 0_usize;
        for process in &resolved.told {
            match process.guard {
                Some((read, handling)) if read >= oldest_use => match handling {
                    Handling::Handled => handled.push(process.identity.clone()),
                    Handling::Ignored | Handling::Default | Handling::Unknown if send_unhandled => {
                        handled.push(process.identity.clone());
                    }
                    Handling::Ignored | Handling::Default | Handling::Starting | Handling::Unknown => {
                        refused += 1;
                    }
                },
                Some(_) | None => {
                    unread = true;
                    if process.asked.is_none_or(|asked| asked < oldest_use) {
                        to_ask.push(process.identity.clone());
                    }
                }
            }
        }
        if unread {
            return if to_ask.is_empty() { Step::Await } else { Step::Guard(to_ask) };
        }
        let patient = self.unhandled.is_none_or(|retry| now < retry.since + PATIENCE);
        if refused == 0 {
            Step::Send(handled, Outcome::Delivered)
        } else if !patient && !handled.is_empty() {
            Step::Send(handled, Outcome::Unhandled)
        } else {
            Step::Refused
        }
    }
}
