//! What is withheld from a container although its process could be told: it doesn't live through deliveries, or another replica
//! of its workload ended after it was told of this content. When that is over, what was withheld is told.

use std::time::Duration;

use crate::kernel::process::ProcessIdentity;
use crate::machine::context::Context;
use crate::machine::reload::maturity::{Maturity, Standing};
use crate::machine::reload::processes::Chosen;
use crate::machine::reload::progress::START_DOUBT;
use crate::machine::reload::suspension::Suspension;
use crate::machine::reload::verify::SHORTEST;
use crate::machine::reload::{Site, Target};
use crate::machine::watched::Watched;
use crate::machine::workloads::Key;
use crate::model::digest::Digest;
use crate::model::journal::Endings;
use crate::model::names::Name;
use crate::model::time::Time;
use crate::policy::problem::{Problem, ProblemKind};

/// Why a reload ends whose content is withheld.
pub(super) const REASON: &str = "the process of another replica on this node ended after it was told of these files; newer ones \
                                 are told, and these at once when an annotation of reloadlet.io changes on the pod";

/// How long after a verify window other replicas still wait for what came of it: masks may be read slowly.
const UNREAD: Duration = Duration::from_secs(5);

/// Whether a content is withheld, and for what reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Withholding {
    content: Option<Known>,
    said: bool,
}

/// Since when it is known that a content is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// In this life of the agent: it is looked up whether it still is.
    Now,
    /// The journal says so, and nobody knows why any more.
    Before,
}

impl Withholding {
    /// What the journal holds of it: something is withheld, and not since the process doesn't live through deliveries.
    pub(super) const fn restored(is_content: bool) -> Self {
        let content = if is_content { Some(Known::Before) } else { None };
        Self { content, said: false }
    }

    /// Whether it is for its content.
    pub(super) const fn is_content(self) -> bool {
        self.content.is_some()
    }
}

impl Target {
    /// Looks up what stands against telling the container. What was withheld from it, and isn't any more, waits again.
    pub(crate) fn consult(&mut self, site: &Site, ctx: &mut Context<'_>) {
        self.end_doubt(site, ctx);
        let withholds = self.withholds();
        if self.waiting.is_none() && !withholds {
            return;
        }
        let on_disk = |volume: &Name| digest(site, volume);
        let uid = &site.pod.uid;
        self.objection = ctx.workloads.objection(&self.workload, uid, on_disk, ctx.now);
        if withholds {
            self.forget_what_was_read(site, ctx);
            if self.may_give(site, ctx.now) {
                self.give(site);
            } else if self.objection.bad && self.withholds() {
                self.withhold(site, ctx);
            }
        }
    }

    /// Whether anything is withheld that will be told once that is over.
    pub(crate) fn withholds(&self) -> bool {
        self.progress.values().any(|progress| progress.withheld().is_some())
    }

    /// Whether nothing is sent, since the process doesn't live through that.
    pub(super) fn is_suspended_at(&self, site: &Site, now: Time) -> bool {
        self.suspension.is_on() && self.probe(site).is_none_or(|probe| now < probe)
    }

    /// When a process that didn't live through deliveries is told once more.
    fn probe(&self, site: &Site) -> Option<Time> {
        let chosen = self.processes.chosen()?;
        let is_unready = site.pod.status.get(&self.plan.container) == Some(&chosen.first().container)
            && site.pod.phases.get(&self.plan.container).is_some_and(|phase| phase.ready == Some(false));
        (!is_unready).then(|| Suspension::probe(chosen.first().started))
    }

    /// When what was withheld is given, if time alone brings that.
    pub(crate) fn probe_due(&self, site: &Site, now: Time) -> Option<Time> {
        let withholds = self.withholds();
        self.probe(site).filter(|probe| withholds && self.suspension.is_on() && *probe > now)
    }

    fn may_give(&self, site: &Site, now: Time) -> bool {
        self.withholding.content != Some(Known::Before)
            && !self.objection.bad
            && !self.is_suspended_at(site, now)
    }

    /// What was withheld waits again, as far as it is what stands there.
    pub(crate) fn give(&mut self, site: &Site) {
        for (name, progress) in &mut self.progress {
            let settled = site.volumes.get(name).and_then(|watched| watched.state().settled());
            if let Some(settled) = settled.filter(|settled| progress.withheld() == Some(&settled.generation))
            {
                progress.give(settled);
                self.waiting.get_or_insert_default().settled(settled.settled);
            }
        }
    }

    /// A process that started after what was withheld has read it.
    fn forget_what_was_read(&mut self, site: &Site, ctx: &mut Context<'_>) {
        let Some(started) = self.processes.chosen().map(Chosen::first).map(|first| first.started) else {
            return;
        };
        for (name, progress) in &mut self.progress {
            let settled = site.volumes.get(name).and_then(|watched| watched.state().settled());
            let is_read = settled.is_some_and(|settled| {
                progress.withheld() == Some(&settled.generation) && started > settled.settled + START_DOUBT
            });
            if is_read {
                progress.has_read();
            }
        }
        if !self.withholds() {
            self.withhold_nothing(site, ctx);
        }
    }

    /// A reload ended since what it was about is withheld.
    pub(super) fn withhold(&mut self, site: &Site, ctx: &mut Context<'_>) {
        if self.suspension.is_on() || self.withholding.content == Some(Known::Now) {
            return;
        }
        self.withholding.content = Some(Known::Now);
        self.record_count(site, ctx);
    }

    /// Nothing is withheld for its content any more.
    pub(super) fn withhold_nothing(&mut self, site: &Site, ctx: &mut Context<'_>) {
        if std::mem::take(&mut self.withholding).is_content() {
            self.record_count(site, ctx);
        }
    }

    /// The journal is to hold what is known of endings by now.
    pub(super) fn record_count(&self, site: &Site, ctx: &mut Context<'_>) {
        let in_a_row = self.suspension.in_a_row();
        let endings = self.has_endings().then_some(Endings { in_a_row, mark: site.terms.mark });
        self.record_endings(site, endings, ctx);
    }

    /// Whether it is still to be read whether what stands there, and is read at a signal, is a content that is withheld. Of what is
    /// being published that isn't known either.
    pub(super) fn is_compared(&self, site: &Site) -> bool {
        let is_unknown = |watched: &Watched| match watched.state().settled() {
            Some(settled) => watched.is_unread(&settled.generation),
            None => watched.state().generation().is_some(),
        };
        self.objection.wary
            && self
                .progress
                .keys()
                .any(|name| site.volumes.get(name).is_some_and(|volume| is_unknown(volume)))
    }

    /// What people are told of what is withheld, once for each time.
    pub(crate) fn say_withholding(&mut self) -> Option<Problem> {
        let container = &self.plan.container;
        // Until the window is closed it may still be seen that something else ended the process.
        if self.verify.is_none()
            && let Some(problem) = self.suspension.say(container, &self.plan.means)
        {
            return Some(problem);
        }
        let is_new = self.withholding.is_content() && !std::mem::replace(&mut self.withholding.said, true);
        is_new.then(|| {
            let sentence = format!(
                "container {container} isn't told of the newest files: the process of another replica on this node ended \
                 after it was told of them; newer ones are told, and these at once when an annotation of reloadlet.io changes on \
                 the pod"
            );
            Problem::new(ProblemKind::BadContent, sentence)
        })
    }

    /// A status of the pod came.
    pub(crate) fn status_came(&mut self, site: &Site, ctx: &mut Context<'_>) {
        self.maturity.observe(site, &self.plan.container, ctx.now);
        let killed = site.pod.phases.get(&self.plan.container).and_then(|phase| phase.killed.clone());
        if let Some(killed) = killed {
            self.killed(site, &|process| process.container == killed, ctx);
        }
    }

    /// Processes were ended by something that no signal of ours does.
    pub(crate) fn killed(
        &mut self,
        site: &Site,
        is_it: &dyn Fn(&ProcessIdentity) -> bool,
        ctx: &mut Context<'_>,
    ) {
        self.absolve(site, is_it, ctx);
        if let Some(sending) = &mut self.sending {
            sending.absolve(is_it);
        }
        if self.suspension.killed(is_it) {
            self.record_count(site, ctx);
        }
    }

    /// The pod is another workload's by now.
    pub(crate) fn belong(&mut self, site: &Site, ctx: &mut Context<'_>) {
        let workload = Key::of(&site.pod, &self.plan.container);
        if workload != self.workload {
            ctx.workloads.leave(&self.workload, &site.pod.uid);
            ctx.workloads.join(&workload, &site.pod.uid, false);
            self.workload = workload;
        }
    }

    /// Takes its place among the replicas of its workload.
    pub(crate) fn join(&self, site: &Site, told_before: bool, ctx: &mut Context<'_>) {
        let proven = told_before && !self.has_endings() && self.verify.is_none();
        ctx.workloads.join(&self.workload, &site.pod.uid, proven);
        self.begin_doubt(site, ctx);
    }

    /// It is being told: the other replicas wait for what comes of that, where none has lived through it yet.
    pub(crate) fn begin_turn(&self, site: &Site, ctx: &mut Context<'_>) {
        let answered = self.plan.means.request().map_or(Duration::ZERO, |request| request.timeout);
        self.begin_turn_until(site, ctx.now + answered + site.terms.verify.max(SHORTEST), ctx);
    }

    /// The same, with a window until then.
    pub(super) fn begin_turn_until(&self, site: &Site, until: Time, ctx: &mut Context<'_>) {
        ctx.workloads.begin_turn(&self.workload, &site.pod.uid, ctx.now, until + UNREAD);
    }

    /// Nothing comes any more of telling it.
    pub(crate) fn end_turn(&self, site: &Site, ctx: &mut Context<'_>) {
        ctx.workloads.end_turn(&self.workload, &site.pod.uid);
    }

    /// Gives its place up.
    pub(crate) fn leave(&self, site: &Site, ctx: &mut Context<'_>) {
        ctx.workloads.leave(&self.workload, &site.pod.uid);
    }

    /// The same, since the pod was deleted, so long ago at most.
    pub(crate) fn delete(&self, site: &Site, ago: Duration, ctx: &mut Context<'_>) {
        ctx.workloads.delete(&self.workload, &site.pod.uid, ctx.now, ago);
    }

    /// Whether an ending of these processes, told now, would say something about the signal, and whether they are known to be
    /// ready.
    pub(super) fn is_grown(&self, site: &Site, now: Time) -> (bool, bool) {
        let Some(chosen) = self.processes.chosen() else { return (false, false) };
        let standing = self.maturity.standing(site, &self.plan.container, chosen);
        (Maturity::is_over(standing, chosen, now), standing == Standing::Ready)
    }
}

/// The digest of what stands in a volume, where it was read.
fn digest(site: &Site, volume: &Name) -> Option<Digest> {
    let watched = site.volumes.get(volume)?;
    watched.known_digest(watched.state().generation()?)
}
