//! What is said of workloads for which there is no room: what tenants write has bounds, and what has none left for one namespace has
//! some for the others.

use crate::model::object::MOST_KEYS;
use crate::policy::problem::{Problem, ProblemKind, quoted};
use crate::rollouts::uses::{MOST_OBJECTS, Object};

fn problem(sentence: impl Into<String>) -> Problem {
    Problem::new(ProblemKind::TooLarge, sentence.into())
}

/// It is rolled for too many objects.
pub(crate) fn for_objects() -> Problem {
    problem(format!(
        "it is to be rolled for more than {MOST_OBJECTS} ConfigMaps and Secrets, and isn't at all"
    ))
}

/// What its objects hold can't be kept.
pub(crate) fn for_contents() -> Problem {
    problem(
        "the objects that it uses have more keys than the controller has room for in one namespace, and it isn't rolled",
    )
}

/// What one of its objects holds can't be used.
pub(crate) fn for_keys((kind, name): &Object) -> Problem {
    problem(format!(
        "{} {} has more than {MOST_KEYS} keys, or can't be understood: as long as it is so, the workload isn't rolled",
        kind.written(),
        quoted(name)
    ))
}

/// What it is like can't be kept.
pub(crate) fn for_workload() -> Problem {
    problem(
        "there are more workloads that ask to be rolled than the controller has room for in one namespace, and it isn't",
    )
}

/// What is remembered of it can't be kept.
pub(crate) fn for_record() -> Problem {
    problem(
        "more is to be remembered of workloads than the controller has room for in one namespace, and it isn't rolled",
    )
}
