//! What the environment of a container takes of ConfigMaps and Secrets, and its command line of the environment.

use std::collections::BTreeSet;

use reloadlet_core::model::excess;
use reloadlet_core::model::names::{LONGEST_KEY, Name};
use reloadlet_core::model::object::ObjectKind;
use reloadlet_core::model::pod::EnvironmentSource;

use super::metadata::Names;
use crate::heads::{Lenient, read_anything};
use crate::room::{Few, Part, Words, take};

/// So many names of variables in a command line are looked for, and so many uses of objects are made of them.
const MOST_ARGUMENTS: usize = excess::Part::Environment.most();

/// What a container takes.
pub(super) struct Environment {
    pub(super) sources: Vec<EnvironmentSource>,
    /// The variables that are set one by one, where there are others; in order.
    pub(super) variables: Vec<Name>,
    /// What the command line takes.
    pub(super) arguments: Vec<EnvironmentSource>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct WrittenVariable {
    name: Option<Words>,
    value: Option<Mentions>,
    value_from: Option<Box<WrittenValue>>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WrittenValue {
    config_map_key_ref: Option<KeyRef>,
    secret_key_ref: Option<KeyRef>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct WrittenVariables {
    prefix: Option<Words>,
    config_map_ref: Option<KeyRef>,
    secret_ref: Option<KeyRef>,
}

/// An object, and one of its keys where it is a key that is meant.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct KeyRef {
    name: Option<Words>,
    key: Option<Words>,
    optional: Option<bool>,
}

/// A plain one counts by its name, which hides the key of a whole object.
impl Part for WrittenVariable {}

impl Part for WrittenVariables {
    fn counts(&self) -> bool {
        self.config_map_ref.is_some() || self.secret_ref.is_some()
    }
}

impl KeyRef {
    fn into_source(self, kind: ObjectKind, names: &mut Names) -> EnvironmentSource {
        EnvironmentSource {
            kind,
            name: names.shared(self.name.unwrap_or_default()),
            key: self.key.map(|key| names.shared(key)),
            prefix: None,
            optional: self.optional == Some(true),
        }
    }
}

impl WrittenValue {
    fn into_source(self, names: &mut Names) -> Option<EnvironmentSource> {
        let (kind, key) = match (self.config_map_key_ref, self.secret_key_ref) {
            (Some(key), _) => (ObjectKind::ConfigMap, key),
            (None, Some(key)) => (ObjectKind::Secret, key),
            (None, None) => return None,
        };
        let source = key.into_source(kind, names);
        // The API server takes none without a key.
        Some(EnvironmentSource { key: Some(source.key.unwrap_or_else(|| "".into())), ..source })
    }
}

impl WrittenVariables {
    fn into_source(self, names: &mut Names) -> Option<EnvironmentSource> {
        let (kind, object) = match (self.config_map_ref, self.secret_ref) {
            (Some(object), _) => (ObjectKind::ConfigMap, object),
            (None, Some(object)) => (ObjectKind::Secret, object),
            (None, None) => return None,
        };
        let prefix = self.prefix.filter(|prefix| !prefix.0.is_empty()).map(|prefix| names.shared(prefix));
        Some(EnvironmentSource { key: None, prefix, ..object.into_source(kind, names) })
    }
}

/// What `env`, `envFrom`, `command` and `args` of a container take.
pub(super) fn read<'a>(
    single: Few<WrittenVariable>,
    whole: Few<WrittenVariables>,
    words: impl Iterator<Item = &'a Words>,
    names: &mut Names,
) -> Environment {
    let own: Vec<Own> = single.into_iter().map(|variable| variable.into_own(names)).collect();
    let whole: Vec<EnvironmentSource> =
        whole.into_iter().filter_map(|object| object.into_source(names)).collect();
    let arguments = arguments(&own, &whole, words, names);
    let variables = if whole.is_empty() { Vec::new() } else { hiding(&own) };
    let sources = own.into_iter().filter_map(|own| own.source).chain(whole);
    Environment { sources: in_order(sources.collect()), variables, arguments }
}

/// A variable that is set by itself.
struct Own {
    name: Name,
    source: Option<EnvironmentSource>,
    /// The variables that its value takes.
    mentions: Vec<Name>,
}

impl WrittenVariable {
    fn into_own(self, names: &mut Names) -> Own {
        let Self { name, value, value_from } = self;
        let mentions = value.unwrap_or_default().0.into_iter();
        Own {
            name: names.shared(name.unwrap_or_default()),
            source: value_from.and_then(|value| value.into_source(names)),
            mentions: mentions.map(|name| names.shared(Words(name))).collect(),
        }
    }
}

fn in_order(mut sources: Vec<EnvironmentSource>) -> Vec<EnvironmentSource> {
    sources.sort();
    sources.dedup();
    sources
}

/// The variables that hide a key of a whole object: those that are always set, unless another one takes the key's value before (kubelet
/// `kubelet_pods.go`, `makeEnvironmentVariables`: whole objects come first, and `env` then in its order).
fn hiding(own: &[Own]) -> Vec<Name> {
    let (mut set, mut taken) = (BTreeSet::new(), BTreeSet::new());
    for variable in own {
        taken.extend(variable.mentions.iter().filter(|name| !set.contains(*name)));
        if variable.source.as_ref().is_none_or(|source| !source.optional) {
            set.insert(&variable.name);
        }
    }
    set.difference(&taken).map(|name| Name::clone(name)).collect()
}

/// What the command line takes: the last variable of a name, and those of which its value is made.
fn arguments<'a>(
    own: &[Own],
    whole: &[EnvironmentSource],
    words: impl Iterator<Item = &'a Words>,
    names: &mut Names,
) -> Vec<EnvironmentSource> {
    let mut wanted = BTreeSet::new();
    for word in words {
        let room = MOST_ARGUMENTS.saturating_sub(wanted.len());
        mentioned(&word.0, room, |name| wanted.extend([Name::from(name)]));
    }
    let mut found = Vec::new();
    for variable in own.iter().rev() {
        if !wanted.contains(&variable.name) {
            continue;
        }
        // One that may be missing leaves what was there before.
        if variable.source.as_ref().is_none_or(|source| !source.optional) {
            wanted.remove(&variable.name);
        }
        found.extend(variable.source.clone());
        let room = MOST_ARGUMENTS.saturating_sub(wanted.len());
        wanted.extend(variable.mentions.iter().take(room).cloned());
    }
    // Those that are left can come of whole objects only.
    let of_objects = wanted.iter().flat_map(|name| {
        let with_prefix = whole.iter().filter_map(move |object| {
            let key = name.strip_prefix(object.prefix.as_deref().unwrap_or_default())?;
            Some((object, key.to_owned()))
        });
        with_prefix.take(MOST_ARGUMENTS)
    });
    for (object, key) in of_objects.take(MOST_ARGUMENTS) {
        let key = Some(names.shared(Words(key)));
        found.push(EnvironmentSource { key, prefix: None, ..object.clone() });
    }
    in_order(found)
}

/// The variables that a text takes.
#[derive(Default)]
struct Mentions(Vec<String>);

/// So many of them are kept of one value.
const MOST_MENTIONS: usize = 64;

/// What isn't a string takes nothing. The API server refuses it.
impl Lenient<'_> for Mentions {
    fn other() -> Self {
        Self::default()
    }

    fn text(text: &str) -> Self {
        let mut mentions = Vec::new();
        mentioned(text, MOST_MENTIONS, |name| {
            if name.len() <= LONGEST_KEY && take(size_of::<String>() + name.len()) {
                mentions.push(name.to_owned());
            }
        });
        Self(mentions)
    }
}

read_anything!(Mentions);

/// Calls for each variable that a text takes, up to so many (Kubernetes `third_party/forked/golang/expansion`): `$(NAME)`, and not
/// `$$(NAME)`.
fn mentioned(text: &str, most: usize, mut call: impl FnMut(&str)) {
    let (mut rest, mut left) = (text, most);
    while let Some((_, after)) = rest.split_once('$') {
        rest = match after.strip_prefix('(').map(|inner| inner.split_once(')')) {
            Some(Some((name, rest))) if left > 0 => {
                left -= 1;
                call(name);
                rest
            }
            // There is no other one, or there are too many.
            Some(_) => return,
            // A second one is the first one's text.
            None => after.strip_prefix('$').unwrap_or(after),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<String> {
        let mut names = Vec::new();
        mentioned(text, MOST_ARGUMENTS, |name| names.push(name.to_owned()));
        names
    }

    #[test]
    fn variables_are_found_as_the_kubelet_expands_them() {
        assert_eq!(found("--level=$(LEVEL) $(A)$(B)"), ["LEVEL", "A", "B"]);
        assert_eq!(found("$$(NO) $NO $ (NO) $(NO"), [""; 0]);
        assert_eq!(found("$$$(YES)"), ["YES"]);
        assert_eq!(found("$"), [""; 0]);
    }

    #[test]
    fn of_very_many_variables_only_so_many_are_looked_for() {
        let text: String = (0..2 * MOST_ARGUMENTS).map(|n| format!("$(A{n})")).collect();
        assert_eq!(found(&text).len(), MOST_ARGUMENTS);
    }

    #[test]
    fn what_has_no_end_is_looked_through_once() {
        // From each of them to the end would be 32 thousand million steps.
        assert_eq!(found(&"$(".repeat(256 << 10)), [""; 0]);
    }
}
