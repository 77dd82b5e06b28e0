//! What comes of an order to send the signals.

use std::collections::BTreeSet;

use super::{END_EVERY, Restarts, Stage};
use crate::kernel::process::ProcessIdentity;
use crate::machine::context::Context;
use crate::machine::event::{Action, Delivery, Report};
use crate::machine::reload::Site;
use crate::model::journal::CarriedOut;
use crate::model::names::Name;
use crate::model::restart::Finding;

impl Restarts {
    /// How the processes took their signals; `None` where the grant's time is over. The containers that were sent them come back.
    pub(crate) fn stopped(
        &mut self,
        site: &Site,
        taken: Option<&[(ProcessIdentity, Delivery)]>,
        ctx: &mut Context<'_>,
    ) -> Vec<Name> {
        let Some(way) = &mut self.under_way else { return Vec::new() };
        let Some(taken) = taken else {
            self.late = Some(way.granted.grant.clone());
            let report = Report::GrantIgnored(site.pod.clone(), "its time is over");
            ctx.act(Action::Report(report));
            self.drop_it();
            return Vec::new();
        };
        match way.stage {
            Stage::Asked => {
                way.stage = Stage::Searching(ctx.now);
                way.look = ctx.now;
                let obstacle = way.granted.containers.iter().find_map(|container| {
                    container.stop.err().map(|obstacle| (container.name.clone(), obstacle))
                });
                if let Some((container, obstacle)) = obstacle {
                    let reason = format!("container {container}: {}", obstacle.sentence());
                    self.finish(site, obstacle.finding(), Some(reason.into()), ctx);
                }
                Vec::new()
            }
            Stage::Sending => self.sent(site, taken, ctx),
            Stage::Searching(_) | Stage::Ending(_) | Stage::Starting(_) => Vec::new(),
        }
    }

    fn sent(
        &mut self,
        site: &Site,
        taken: &[(ProcessIdentity, Delivery)],
        ctx: &mut Context<'_>,
    ) -> Vec<Name> {
        let Some(way) = &mut self.under_way else { return Vec::new() };
        let mut told = BTreeSet::new();
        let (mut refused, mut spared) = (None, false);
        for (process, delivery) in taken {
            let Some(part) = way.parts.iter_mut().find(|part| part.is(&process.container)) else {
                continue;
            };
            match delivery {
                Delivery::Sent => drop(told.insert(part.name().clone())),
                Delivery::Gone => part.lose(),
                Delivery::Spared => spared = true,
                Delivery::Denied => refused = Some((part.name().clone(), "EPERM: Operation not permitted")),
                Delivery::Failed(error) => refused = Some((part.name().clone(), *error)),
            }
        }
        way.stage = Stage::Ending(ctx.now + way.granted.grace);
        (way.look, way.pause) = (ctx.now + END_EVERY, END_EVERY);
        let names = told.iter().cloned().collect();
        let carried = CarriedOut { grant: way.granted.grant.clone(), at: ctx.now, told, said: None };
        self.record(site, carried, ctx);
        if let Some((container, error)) = refused {
            let reason = format!("container {container}: the kernel refused the signal ({error})");
            self.finish(site, Finding::Denied, Some(reason.into()), ctx);
        } else if spared {
            self.finish(site, Finding::DryRun, None, ctx);
        }
        names
    }
}
