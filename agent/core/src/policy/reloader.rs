//! What the annotations of Reloader (stakater/Reloader) ask for: which of its workloads is rolled when an object changes, by its own
//! rules and by ours. The rules of v1.4.21 are those of `pkg/common/common.go` (`ShouldReload`, `checkIfResourceIsExcluded`) and
//! `internal/pkg/handler/upgrade.go` at commit 655a2b3; where ours differ, the item says so.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::model::closed::Closed as _;
use crate::model::names::is_subdomain;
use crate::model::pod::{AnnotationValue, Annotations};

pub use consumer::consumer;
pub(crate) use course::has;
pub use course::{Course, Difference, Hold, Idle, Key, Options, Pods, Rest, Telling, course};
pub use expression::Expressions;
use expression::Verdict;
pub use kinds::ObjectType;
pub use reaction::{Event, Reaction, Silence, Variable, reaction};
pub use remarks::{Remark, RemarkKind, remarks, remarks_of_jobs, remarks_of_object};
pub use situation::{Candidate, Form, Installation, Object, Partition, Resting, Scope, Strategy, Update};

mod consumer;
mod course;
mod duration;
mod expression;
mod kinds;
mod reaction;
mod remarks;
mod situation;

/// On a workload or its template: it is rolled when an object that it uses changes.
pub const AUTO: &str = "reloader.stakater.com/auto";
/// On a workload or its template: the same for objects that have [`MATCH`].
pub const SEARCH: &str = "reloader.stakater.com/search";
/// On an object: see [`SEARCH`].
pub const MATCH: &str = "reloader.stakater.com/match";
/// On an object: it is never a reason.
pub const IGNORE: &str = "reloader.stakater.com/ignore";
/// On a Rollout of Argo: how its pods are replaced.
pub const ROLLOUT_STRATEGY: &str = "reloader.stakater.com/rollout-strategy";
/// On a Deployment: so long its changes are gathered.
pub const PAUSE_PERIOD: &str = "deployment.reloader.stakater.com/pause-period";
/// Written by Reloader itself on a Deployment that it has paused.
pub const PAUSED_AT: &str = "deployment.reloader.stakater.com/paused-at";

/// Written by Reloader itself on a template: what it was rolled for.
pub const LAST_RELOADED_FROM: &str = "reloader.stakater.com/last-reloaded-from";

/// Whether Reloader reads the annotation with this key, on a workload, a template or an object.
pub fn is_relevant(key: &str) -> bool {
    key.split('/')
        .next()
        .is_some_and(|domain| domain == "reloader.stakater.com" || domain.ends_with(".reloader.stakater.com"))
}

/// Whose rules decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// Reloader's, v1.4.21.
    Reloader {
        /// `--auto-reload-all`: every workload is as if it had [`AUTO`], unless it says anything else.
        auto_reload_all: bool,
    },
    /// Ours: a list's items stand for whole names, and what is excluded at either place is excluded.
    Ours,
}

/// What an object's own annotations say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// It is never a reason ([`IGNORE`]).
    pub ignored: bool,
    /// It is one that is searched for ([`MATCH`]).
    pub matched: bool,
}

impl Marks {
    /// What these annotations of an object say.
    pub fn of(annotations: &Annotations) -> Self {
        // Whoever leaves out the quotes means it, too; the API server refuses that.
        let is_true = |key| {
            let value = annotations.get(key);
            matches!(value, Some(AnnotationValue::Text(value) | AnnotationValue::NotText(value)) if value == "true")
        };
        Self { ignored: is_true(IGNORE), matched: is_true(MATCH) }
    }
}

/// What a change of an object is to a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The object says that it is no reason.
    Ignored,
    /// The workload says that it is no reason.
    Excluded,
    /// The workload names it: it is rolled, whether it uses the object or not.
    Named,
    /// The workload looks for objects like this one: it is rolled if it uses it.
    Searched,
    /// It is rolled if it uses the object, as for any that it uses.
    Automatic,
    /// Nothing asks for it.
    Unasked,
}

impl Decision {
    /// Whether the workload is rolled; `is_used` says whether it uses the object ([`consumer()`]).
    pub const fn rolls(self, is_used: bool) -> bool {
        match self {
            Self::Named => true,
            Self::Searched | Self::Automatic => is_used,
            Self::Ignored | Self::Excluded | Self::Unasked => false,
        }
    }
}

/// So many items of a list are looked at: each takes time and memory to be compiled, and whoever writes a workload writes them.
const MOST_ITEMS: usize = 256;

/// A workload as Reloader sees it.
#[derive(Debug)]
pub struct Asking<'a> {
    workload: &'a Annotations,
    template: &'a Annotations,
    /// The items of the lists that count, by type of objects.
    lists: [Vec<&'a str>; ObjectType::ALL.len()],
    expressions: Rc<Expressions>,
}

impl<'a> Asking<'a> {
    /// A workload with these annotations of its own, and these of its template.
    pub fn new(workload: &'a Annotations, template: &'a Annotations) -> Self {
        Self::with(workload, template, Rc::default())
    }

    /// The same for one of many workloads, whose items are remembered here.
    pub fn with(workload: &'a Annotations, template: &'a Annotations, expressions: Rc<Expressions>) -> Self {
        let listed = |object: ObjectType| {
            let set = if asks(workload, object) { workload } else { template };
            items(set, object.reload_key()).collect()
        };
        Self { workload, template, lists: ObjectType::ALL.map(listed), expressions }
    }

    /// Whether there is anything of Reloader's that a person writes.
    pub fn is_any(&self) -> bool {
        let mut keys = self.workload.keys().chain(self.template.keys());
        keys.any(|key| is_relevant(key) && ![PAUSED_AT, LAST_RELOADED_FROM].contains(&key.as_str()))
    }

    fn list(&self, object: ObjectType) -> &[&'a str] {
        self.lists.get(object.index()).map(Vec::as_slice).unwrap_or_default()
    }

    /// What a change of the object of this type and name is to it.
    pub fn decide(&self, object: ObjectType, name: &str, marks: Marks, rules: Rules) -> Decision {
        if marks.ignored {
            return Decision::Ignored;
        }
        if self.excludes(object, name, rules) {
            return Decision::Excluded;
        }
        let set = self.chosen(object);
        let has = |item: &&str| match rules {
            Rules::Reloader { .. } => self.expressions.takes(item, name),
            Rules::Ours => self.expressions.takes_whole(item, name),
        };
        if self.list(object).iter().any(has) {
            return Decision::Named;
        }
        if text(set, SEARCH) == Some("true") && marks.matched {
            return Decision::Searched;
        }
        let values = [text(set, AUTO), text(set, object.auto_key())];
        let is_asked = values.into_iter().flatten().any(|value| parse_bool(value) == Some(true));
        let says_nothing = values.into_iter().flatten().all(str::is_empty);
        let is_for_all = rules == Rules::Reloader { auto_reload_all: true } && says_nothing;
        if is_asked || is_for_all { Decision::Automatic } else { Decision::Unasked }
    }

    /// The names that its list has for objects of this type, of those items that are no more than a name.
    pub fn named(&self, object: ObjectType) -> BTreeSet<&'a str> {
        self.list(object).iter().copied().filter(|item| is_subdomain(item)).collect()
    }

    /// How many items of its list for objects of this type can take other names than their own.
    pub fn patterns(&self, object: ObjectType) -> usize {
        let is_pattern = |item: &&&str| {
            (!is_subdomain(item) || item.contains('.'))
                && matches!(self.expressions.verdict(item), Verdict::Expression(_))
        };
        self.list(object).iter().filter(is_pattern).count()
    }

    /// The annotations that count for objects of this type: the workload's if it has any of them, however empty, and else all of the
    /// template's.
    fn chosen(&self, object: ObjectType) -> &'a Annotations {
        if asks(self.workload, object) { self.workload } else { self.template }
    }

    /// Reloader looks at the workload's own list only.
    fn excludes(&self, object: ObjectType, name: &str, rules: Rules) -> bool {
        // Names aren't compiled, and all of them count.
        let lists = |set| {
            let list = text(set, object.exclude_key());
            list.is_some_and(|list| list.split(',').any(|item| item.trim() == name))
        };
        lists(self.workload) || (rules == Rules::Ours && lists(self.template))
    }
}

/// Whether these annotations ask for something about objects of this type: that they are there counts, whatever they say.
fn asks(annotations: &Annotations, object: ObjectType) -> bool {
    [object.reload_key(), AUTO, object.auto_key(), SEARCH]
        .into_iter()
        .any(|key| annotations.contains_key(key))
}

fn text<'a>(annotations: &'a Annotations, key: &str) -> Option<&'a str> {
    match annotations.get(key)? {
        AnnotationValue::Text(text) => Some(text),
        // The API server takes no such.
        AnnotationValue::NotText(_) => None,
    }
}

/// The first [`MOST_ITEMS`] items of a comma list, trimmed as Reloader does.
fn items<'a>(annotations: &'a Annotations, key: &str) -> impl Iterator<Item = &'a str> {
    text(annotations, key).into_iter().flat_map(|list| list.split(',')).map(str::trim).take(MOST_ITEMS)
}

/// The values that Go takes for a truth value (`strconv.ParseBool`).
pub fn parse_bool(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
