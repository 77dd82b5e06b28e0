//! What is to be done next about a workload.

use crate::model::names::Name;
use crate::model::time::Time;
use crate::rollouts::event::{Obstacle, Report, Restart, Wait};
use crate::rollouts::record::{Prints, Record};
use crate::rollouts::restarting::Watched;

/// What is to be done next about a workload.
#[derive(Debug)]
pub(crate) enum Next {
    /// Nothing is wanted.
    Rest,
    /// Something is under way; it is looked at again then, if not before.
    Busy(Option<Time>),
    /// Its record is to be this.
    Write(Option<Record>, Option<Report>),
    /// People are told why nothing is done.
    Tell(Report),
    /// It waits for this, until then at most.
    Wait(Wait, Option<Time>),
    /// It could be rolled, as far as it goes, when its pods were listed last, and nothing of it has changed since: they are listed again only
    /// if nothing else keeps it waiting.
    Almost {
        /// What stands for all of each object that differs.
        causes: Prints,
    },
    /// Its pods are to be listed.
    ListPods,
    /// This pod of it, which is restarted in place, is to be looked at.
    LookAt {
        /// Its name.
        pod: Name,
        /// Whether it is of interest what its agent has said.
        hears: bool,
    },
    /// This pod of it is restarted in place, as it was found.
    Watch(Watched),
    /// Its pods can't be restarted in place, for this, until then at least if that is known.
    Stuck {
        /// Why.
        obstacle: Obstacle,
        /// Until when.
        until: Option<Time>,
    },
    /// It can be rolled, as far as it goes.
    Ready {
        /// What its pods will hold.
        wanted: Prints,
        /// What stands for all of each object that differs.
        causes: Prints,
        /// What of its own it waits for.
        waits: Option<Wait>,
        /// How.
        turn: Whose,
    },
}

/// What is changed so that pods come by a content.
#[derive(Debug)]
pub(crate) enum Whose {
    /// The template; if it asks for restarts in place, because this is against them.
    Template(Option<Obstacle>),
    /// One pod after another.
    Pods,
    /// This one.
    Pod(Restart),
}
