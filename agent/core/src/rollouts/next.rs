//! What is to be done next about a workload.

use crate::model::time::Time;
use crate::rollouts::event::{Report, Wait};
use crate::rollouts::record::{Prints, Record};

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
    /// It can be rolled, as far as it goes.
    Ready {
        /// What its pods will hold.
        wanted: Prints,
        /// What stands for all of each object that differs.
        causes: Prints,
        /// What of its own it waits for.
        waits: Option<Wait>,
    },
}
