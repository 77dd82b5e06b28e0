//! What is odd about Reloader's annotations: where it does something else than whoever wrote them may think, and where reloadlet does
//! something else than it.

use std::collections::BTreeSet;

use crate::model::closed::closed_set;
use crate::model::names::is_subdomain;
use crate::model::pod::{AnnotationValue, Annotations};
use crate::model::shown::{quoted, quoted_up_to, unquoted};
use crate::policy::reloader::duration::go_duration;
use crate::policy::reloader::expression::{Expressions, Verdict, open_alternatives};
use crate::policy::reloader::situation::Form;
use crate::policy::reloader::{
    AUTO, Asking, IGNORE, MATCH, MOST_ITEMS, ObjectType, PAUSE_PERIOD, ROLLOUT_STRATEGY, SEARCH, asks,
    is_relevant, items, parse_bool, text,
};

/// The longest text to be written instead, in characters.
const LONGEST_REMEDY: usize = 300;

closed_set! {
    /// What kind of remark: a code that `reloadlet check` prints.
    pub enum RemarkKind {
        /// A value that Reloader doesn't take for what it looks like.
        Value => "reloader-value",
        /// An item of a list that is no expression where one is needed, or is one where a name is.
        Expression => "reloader-expression",
        /// An item of a list that takes more names than it seems to.
        Alternation => "reloader-alternation",
        /// A name in a list of expressions, in which a dot stands for any character.
        Dot => "reloader-dot",
        /// Annotations of the template that the workload's own hide.
        Hidden => "reloader-hidden",
        /// An annotation where it isn't read.
        Misplaced => "reloader-misplaced",
        /// A value that isn't a string.
        NotText => "not-text",
        /// Two annotations that say opposite things.
        Contradiction => "reloader-contradiction",
    }
}

/// One remark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// Its kind.
    pub kind: RemarkKind,
    /// The sentence.
    pub sentence: String,
}

/// All remarks about the annotations of a workload of this kind, and its template's.
pub fn remarks(asking: &Asking<'_>, form: Form) -> Vec<Remark> {
    let mut all = Remarks::default();
    let both = [("", asking.workload), ("the template's ", asking.template)];
    for (whose, annotations) in both {
        all.not_texts(whose, annotations);
        all.values(whose, annotations);
        all.lists(whose, annotations, &asking.expressions);
        all.opposite_autos(whose, annotations);
    }
    all.excluded(asking);
    all.hidden(asking);
    all.misplaced(asking);
    all.misplaced_by_kind(asking, form);
    all.0
}

/// The remarks about an object's annotations.
pub fn remarks_of_object(annotations: &Annotations) -> Vec<Remark> {
    let mut all = Remarks::default();
    all.not_texts("", annotations);
    all.exact("", annotations, IGNORE);
    all.exact("", annotations, MATCH);
    all.unread("an object", annotations, "it is for workloads", |key| [IGNORE, MATCH].contains(&key));
    all.0
}

/// The remarks about the annotations of the template of a CronJob's Jobs.
pub fn remarks_of_jobs(annotations: &Annotations) -> Vec<Remark> {
    let mut all = Remarks::default();
    let remedy = "write it on the CronJob or on the template of its pods";
    all.unread("the template of its Jobs", annotations, remedy, |_| false);
    all.0
}

/// The names that Reloader takes for open alternatives.
fn taken(first: &str, has_middle: bool, last: &str) -> String {
    if first.is_empty() || last.is_empty() {
        return String::from("every name, as an alternative is empty");
    }
    let middle = if has_middle { ", has one between them anywhere," } else { "" };
    format!("every name that begins with the first alternative{middle} or ends with the last")
}

#[derive(Default)]
struct Remarks(Vec<Remark>);

impl Remarks {
    fn add(&mut self, kind: RemarkKind, sentence: String) {
        self.0.push(Remark { kind, sentence });
    }

    /// What the API server takes no object with.
    fn not_texts(&mut self, whose: &str, annotations: &Annotations) {
        for (key, value) in annotations.iter().filter(|(key, _)| is_relevant(key)) {
            if let AnnotationValue::NotText(raw) = value {
                let sentence = format!(
                    "{whose}{} is {}, but must be a string: put it in quotes",
                    unquoted(key),
                    unquoted(raw)
                );
                self.add(RemarkKind::NotText, sentence);
            }
        }
    }

    /// Those that are read elsewhere.
    fn unread(&mut self, place: &str, annotations: &Annotations, remedy: &str, fits: impl Fn(&str) -> bool) {
        for key in annotations.keys().filter(|key| is_relevant(key) && !fits(key)) {
            let sentence = format!("{} on {place} does nothing: {remedy}", unquoted(key));
            self.add(RemarkKind::Misplaced, sentence);
        }
    }

    fn values(&mut self, whose: &str, annotations: &Annotations) {
        let autos = ObjectType::ALL.map(ObjectType::auto_key);
        for key in autos.into_iter().chain([AUTO]) {
            let value = text(annotations, key).filter(|value| !value.is_empty());
            if let Some(value) = value.filter(|value| parse_bool(value).is_none()) {
                let sentence = format!(
                    "{whose}{key} is {}: Reloader takes that for \"false\"; \"true\" or \"false\" is what it knows",
                    quoted(value)
                );
                self.add(RemarkKind::Value, sentence);
            }
        }
        self.exact(whose, annotations, SEARCH);
        if let Some(value) = text(annotations, PAUSE_PERIOD).filter(|value| go_duration(value).is_none()) {
            let sentence = format!(
                "{whose}{PAUSE_PERIOD} is {}, which is no duration such as \"5m\": Reloader fails and never rolls; reloadlet rolls \
                 without it",
                quoted(value)
            );
            self.add(RemarkKind::Value, sentence);
        }
        let strategies = ["rollout", "restart", ""];
        let strategy = text(annotations, ROLLOUT_STRATEGY).filter(|value| !strategies.contains(value));
        if let Some(value) = strategy {
            let sentence = format!(
                "{whose}{ROLLOUT_STRATEGY} is {}: Reloader takes that for \"rollout\"; \"restart\" is the other one it knows",
                quoted(value)
            );
            self.add(RemarkKind::Value, sentence);
        }
    }

    /// A key for which only "true" counts.
    fn exact(&mut self, whose: &str, annotations: &Annotations, key: &str) {
        let value = text(annotations, key).filter(|value| !matches!(*value, "true" | "false" | ""));
        if let Some(value) = value {
            let sentence = format!("{whose}{key} is {}: only \"true\" counts", quoted(value));
            self.add(RemarkKind::Value, sentence);
        }
    }

    fn lists(&mut self, whose: &str, annotations: &Annotations, expressions: &Expressions) {
        for key in ObjectType::ALL.map(ObjectType::reload_key) {
            let count = text(annotations, key).map_or(0, |list| list.split(',').count());
            if count > MOST_ITEMS {
                let sentence = format!(
                    "{whose}{key} has {count} items: the first {MOST_ITEMS} are looked at here, and by Reloader all"
                );
                self.add(RemarkKind::Expression, sentence);
            }
            for item in items(annotations, key).filter(|item| !item.is_empty()) {
                let shown = quoted(item);
                let verdict = expressions.verdict(item);
                let alternatives = open_alternatives(item);
                if verdict == Verdict::Refused {
                    let sentence = format!(
                        "{whose}{key} has {shown}, which is no regular expression: Reloader leaves it out; reloadlet takes it for a \
                         name (a comma always ends an item)"
                    );
                    self.add(RemarkKind::Expression, sentence);
                } else if verdict == Verdict::Unknown {
                    let sentence = format!(
                        "{whose}{key} has {shown}, of which it can't be judged here what Reloader takes for it; reloadlet takes it \
                         for a name"
                    );
                    self.add(RemarkKind::Expression, sentence);
                } else if item.matches('{').count() > item.matches('}').count() {
                    let sentence = format!(
                        "{whose}{key} has {shown}, whose brace stands for itself, and no name has one (a comma always ends an item)"
                    );
                    self.add(RemarkKind::Expression, sentence);
                } else if let [first, .., last] = &*alternatives {
                    let sentence = format!(
                        "{whose}{key} has {shown}: Reloader takes {}; reloadlet takes whole names only; write {} for that",
                        taken(first, alternatives.len() > 2, last),
                        quoted(&format!("({item})"))
                    );
                    self.add(RemarkKind::Alternation, sentence);
                } else if is_subdomain(item) && item.contains('.') {
                    let sentence = format!(
                        "{whose}{key} has {shown}, where a dot stands for any character: another name is taken, too, such as {}; write {} \
                         for the dot alone",
                        quoted(&item.replacen('.', "-", 1)),
                        quoted_up_to(&item.replace('.', "[.]"), LONGEST_REMEDY)
                    );
                    self.add(RemarkKind::Dot, sentence);
                }
            }
        }
        for key in ObjectType::ALL.map(ObjectType::exclude_key) {
            for item in items(annotations, key).filter(|item| !item.is_empty() && !is_subdomain(item)) {
                let sentence = format!(
                    "{whose}{key} has {}, which is no name: it excludes nothing, as expressions aren't looked at there",
                    quoted(item)
                );
                self.add(RemarkKind::Expression, sentence);
            }
        }
    }

    fn opposite_autos(&mut self, whose: &str, annotations: &Annotations) {
        let says = |key, expected| text(annotations, key).and_then(parse_bool) == Some(expected);
        for object in ObjectType::ALL {
            let typed = object.auto_key();
            for (key, other) in [(AUTO, typed), (typed, AUTO)] {
                if says(key, false) && says(other, true) {
                    let sentence =
                        format!("{whose}{key} is \"false\" and {other} \"true\": the second one counts");
                    self.add(RemarkKind::Contradiction, sentence);
                }
            }
        }
    }

    /// What is named and excluded, whichever of the two places has which list.
    fn excluded(&mut self, asking: &Asking<'_>) {
        for object in ObjectType::ALL {
            for (place, exclude) in [("", asking.workload), ("the template's ", asking.template)] {
                let excluded: BTreeSet<&str> = items(exclude, object.exclude_key()).collect();
                let is_both = |item: &&&str| !item.is_empty() && excluded.contains(**item);
                for item in asking.list(object).iter().filter(is_both) {
                    let sentence = format!(
                        "{} and {place}{} both name {}: it is excluded",
                        object.reload_key(),
                        object.exclude_key(),
                        quoted(item)
                    );
                    self.add(RemarkKind::Contradiction, sentence);
                }
            }
        }
    }

    fn hidden(&mut self, asking: &Asking<'_>) {
        for object in ObjectType::ALL {
            let is_hidden = asks(asking.workload, object) && asks(asking.template, object);
            let keys = [object.reload_key(), AUTO, object.auto_key(), SEARCH];
            let differs = |key: &&str| text(asking.template, key) != text(asking.workload, key);
            let hidden = keys.into_iter().find(|key| asking.template.contains_key(*key) && differs(key));
            if let Some(hidden) = hidden.filter(|_| is_hidden) {
                let word = object.as_str();
                let sentence = format!(
                    "the template's {hidden} doesn't count for objects of type {word}, as the workload's own annotations say \
                     something of them: write all of them in one place"
                );
                self.add(RemarkKind::Hidden, sentence);
            }
        }
    }

    fn misplaced(&mut self, asking: &Asking<'_>) {
        for (whose, annotations) in [("the workload", asking.workload), ("the template", asking.template)] {
            for key in [IGNORE, MATCH].into_iter().filter(|key| annotations.contains_key(*key)) {
                let sentence = format!("{key} on {whose} does nothing: it is for ConfigMaps and Secrets");
                self.add(RemarkKind::Misplaced, sentence);
            }
        }
        for key in ObjectType::ALL.map(ObjectType::exclude_key) {
            if asking.template.contains_key(key) {
                let sentence = format!(
                    "{key} on the template does nothing in Reloader 1.4, which reads the workload's; reloadlet reads both"
                );
                self.add(RemarkKind::Misplaced, sentence);
            }
        }
        if asking.template.contains_key(PAUSE_PERIOD) {
            let sentence = format!(
                "{PAUSE_PERIOD} on the template does nothing in Reloader, which reads the workload's; reloadlet reads both"
            );
            self.add(RemarkKind::Misplaced, sentence);
        }
    }

    /// What Reloader reads on workloads of one kind only.
    fn misplaced_by_kind(&mut self, asking: &Asking<'_>, form: Form) {
        let has = |key| asking.workload.contains_key(key);
        if has(PAUSE_PERIOD) && !matches!(form, Form::Deployment | Form::Resting(_)) {
            let sentence = format!(
                "{PAUSE_PERIOD} does nothing in Reloader on anything but a Deployment; reloadlet gathers changes for workloads of each kind"
            );
            self.add(RemarkKind::Misplaced, sentence);
        }
        if has(ROLLOUT_STRATEGY) && !matches!(form, Form::Rollout { .. }) {
            let sentence = format!("{ROLLOUT_STRATEGY} does nothing on anything but a Rollout");
            self.add(RemarkKind::Misplaced, sentence);
        }
    }
}
