//! Reports of reloads, with the way of what they told of from the API server to the process.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::machine::context::Context;
use crate::machine::event::{Action, ReloadReport, Report, Stages};
use crate::machine::pod::PodMachine;
use crate::machine::watched::Watched;
use crate::model::names::Name;
use crate::model::outcome::Outcome;

impl PodMachine {
    /// Reports a reload; a delivery once it is known what its generations brought, or never will be.
    pub(super) fn say(&mut self, report: ReloadReport, ctx: &mut Context<'_>) {
        if report.outcome == Outcome::Delivered && !is_decided(&self.site.volumes, &report) {
            self.unsaid.add(report, ctx.now);
        } else {
            self.say_now(report, ctx);
        }
    }

    fn say_now(&self, mut report: ReloadReport, ctx: &mut Context<'_>) {
        report.stages = stages(&self.site.volumes, &report);
        ctx.act(Action::Report(Report::Reload(Box::new(report))));
    }

    /// Reports what is decided or has waited long enough.
    pub(super) fn say_due(&mut self, ctx: &mut Context<'_>) {
        let volumes = &self.site.volumes;
        let due = self.unsaid.take(ctx.now, |report| is_decided(volumes, report));
        due.into_iter().for_each(|report| self.say_now(report, ctx));
    }

    /// Reports whatever waits: a later report must not come before it.
    pub(crate) fn say_all(&mut self, ctx: &mut Context<'_>) {
        self.unsaid.take_all().into_iter().for_each(|report| self.say_now(report, ctx));
    }
}

fn is_decided(volumes: &BTreeMap<Name, Box<Watched>>, report: &ReloadReport) -> bool {
    report
        .generations
        .iter()
        .all(|(name, generation)| volumes.get(name).is_none_or(|watched| watched.is_decided(generation)))
}

/// From the API server to the process: what a reload's generations brought, counted from the oldest.
fn stages(volumes: &BTreeMap<Name, Box<Watched>>, report: &ReloadReport) -> Option<Stages> {
    let publications =
        report.generations.iter().filter_map(|(name, generation)| volumes.get(name)?.publication(generation));
    let mut stages: Option<Stages> = None;
    for publication in publications {
        let observed = publication.observed.min(publication.swapped);
        let stages = stages.get_or_insert_with(|| Stages {
            observed,
            publish: Duration::ZERO,
            propagation: Duration::ZERO,
            versions: Vec::new(),
        });
        stages.observed = stages.observed.min(observed);
        stages.versions.extend(publication.versions.iter().cloned());
    }
    let mut stages = stages?;
    stages.publish = report.swapped.since(stages.observed);
    stages.propagation = report.ended.since(stages.observed);
    Some(stages)
}
