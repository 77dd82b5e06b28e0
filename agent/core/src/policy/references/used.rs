//! What a volume is made of, and what of it a mount shows.

use crate::model::names::FilePath;
use crate::model::object::ObjectKind;
use crate::model::pod::{Csi, Item, ObjectSource, ProjectedSource, Volume, VolumeSource};

use super::part::{Part, Subject};
use super::{Effect, Reference, Way, Why};

/// One source of a volume.
pub(super) struct Used<'a> {
    what: What<'a>,
    /// Its items, in the order of their paths.
    items: Vec<&'a Item>,
}

/// What a source is.
#[derive(Clone, Copy)]
pub(super) enum What<'a> {
    Object(ObjectKind, &'a ObjectSource),
    Csi(&'a Csi),
}

/// What a mount shows of a source.
pub(super) struct Shown<'u, 'a> {
    used: &'u Used<'a>,
    /// The items at a path, and those below it.
    items: [&'u [&'a Item]; 2],
}

impl<'a> Used<'a> {
    /// The sources of a volume, in the order of the spec.
    pub(super) fn of_volume(volume: &'a Volume) -> impl Iterator<Item = Self> {
        let objects = volume.source.objects().map(|(kind, source)| {
            let mut items: Vec<&Item> = source.items.iter().collect();
            items.sort_by(|one, other| one.path.cmp(&other.path));
            Self { what: What::Object(kind, source), items }
        });
        let of_driver = |csi| Self { what: What::Csi(csi), items: Vec::new() };
        objects.chain(volume.csi.as_ref().map(of_driver))
    }

    /// It as a mount of the whole volume shows it.
    pub(super) fn all(&self) -> Shown<'_, 'a> {
        Shown { used: self, items: [&self.items, &[]] }
    }

    /// It as a mount that shows nothing of it has it.
    pub(super) fn nothing(&self) -> Shown<'_, 'a> {
        Shown { used: self, items: [&[], &[]] }
    }

    /// It as a mount of this path shows it; `None` where that shows nothing of it. Without items the keys decide.
    pub(super) fn at(&self, path: &FilePath) -> Option<Shown<'_, 'a>> {
        if self.items.is_empty() || is_expanded(path) || path.as_str().is_empty() {
            return Some(self.all());
        }
        let below = format!("{}/", path.as_str());
        let from = |first: &str| self.items.partition_point(|item| item.path.as_str() < first);
        let run = |first: &str, is_shown: &dyn Fn(&str) -> bool| {
            let rest = self.items.get(from(first)..).unwrap_or_default();
            let count = rest.iter().take_while(|item| is_shown(item.path.as_str())).count();
            rest.get(..count).unwrap_or_default()
        };
        let itself = run(path.as_str(), &|item| item == path.as_str());
        let within = run(&below, &|item| item.starts_with(&below));
        let shown = Shown { used: self, items: [itself, within] };
        (shown.items() > 0).then_some(shown)
    }
}

impl<'a> Shown<'_, 'a> {
    /// What the source is.
    pub(super) const fn what(&self) -> What<'a> {
        self.used.what
    }

    /// How many items are shown.
    pub(super) const fn items(&self) -> usize {
        let [itself, within] = self.items;
        itself.len() + within.len()
    }

    /// The reference of nobody to it.
    pub(super) fn reference(
        &self,
        volume: &Volume,
        way: Way,
        path: Option<&FilePath>,
        why: Why,
    ) -> Reference {
        let (subject, part, optional) = match self.what() {
            What::Object(kind, source) => {
                let items: Vec<Item> = self.items.into_iter().flatten().map(|item| (*item).clone()).collect();
                let part = match path.filter(|path| !is_expanded(path) && !path.as_str().is_empty()) {
                    None if items.is_empty() => Part::Everything,
                    path => Part::Files { items, path: path.cloned() },
                };
                (Subject::Object(kind, source.name.clone()), part, source.optional)
            }
            What::Csi(csi) => {
                let class = csi.class.clone().map(Subject::Class);
                (class.unwrap_or_else(|| Subject::Driver(csi.driver.clone())), Part::Everything, false)
            }
        };
        let volume = Some(volume.name.clone());
        let effect = Effect::Never;
        let (by_name, is_certain) = (false, true);
        Reference {
            container: None,
            role: None,
            subject,
            part,
            way,
            volume,
            optional,
            by_name,
            is_certain,
            effect,
            why,
        }
    }
}

/// Whether something in a volume that is no object's is at a path, or below it.
pub(super) fn have_others(volume: &Volume, path: &FilePath) -> bool {
    let VolumeSource::Projected(sources) = &volume.source else { return false };
    let below = format!("{}/", path.as_str());
    let is_there = |other: &FilePath| other == path || other.as_str().starts_with(&below);
    sources.iter().any(|source| match source {
        ProjectedSource::Rotating { paths } => paths.is_empty() || paths.iter().any(is_there),
        ProjectedSource::ConfigMap(_) | ProjectedSource::Secret(_) => false,
    })
}

/// Whether the kubelet puts variables into a path when the container starts: which it is isn't known here.
fn is_expanded(path: &FilePath) -> bool {
    path.as_str().contains("$(")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(paths: &[&str], path: &str) -> Option<Vec<String>> {
        let items = paths.iter().map(|path| Item { key: "k".into(), path: (*path).into() }).collect();
        let source = VolumeSource::ConfigMap(ObjectSource { name: "a".into(), items, optional: false });
        let volume = Volume { name: "v".into(), source, csi: None };
        let used = Used::of_volume(&volume).next().unwrap();
        let shown = used.at(&path.into())?;
        Some(shown.items.into_iter().flatten().map(|item| item.path.as_str().to_owned()).collect())
    }

    #[test]
    fn a_path_shows_itself_and_what_is_below_it() {
        let paths = ["a/b.conf", "a", "a/c/d", "a.conf", "a-1", "b"];
        let some = |paths: &[&str]| Some(paths.iter().map(|path| String::from(*path)).collect::<Vec<_>>());
        assert_eq!(shown(&paths, "a"), some(&["a", "a/b.conf", "a/c/d"]));
        assert_eq!(shown(&paths, "./a//c/"), some(&["a/c/d"]));
        assert_eq!(shown(&paths, "a.conf"), some(&["a.conf"]));
        assert_eq!(shown(&paths, "c"), None);
        assert_eq!(shown(&paths, "$(NAME)").map(|all| all.len()), Some(6), "any of them may be");
        assert_eq!(shown(&[], "c"), some(&[]), "the keys decide");
    }
}
