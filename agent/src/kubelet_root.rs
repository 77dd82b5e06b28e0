//! Whether the kubelet root is the one that the kubelet uses. A wrong one can exist, and then nothing ever changes there.
//!
//! It is wrong if containers run for some time and the directory of not one of their pods is below it. Where some pods'
//! directories are there, a missing one is that pod's affair. A root into which the agent isn't allowed to look is neither right nor
//! wrong.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use reloadlet_core::Time;
use reloadlet_core::model::names::{Name, PodUid};
use reloadlet_core::policy::problem::quoted;

use crate::home::{Home, Shown};

/// How long a directory must have been missing while containers of its pod ran.
const WRONG_AFTER: Duration = Duration::from_secs(20);
/// How often it is looked for again, as long as no directory is there.
const LOOK_EACH: Duration = Duration::from_secs(5);
/// How often it is looked whether the agent is still allowed to.
const LOOK_INTO_EACH: Duration = Duration::from_secs(15);

/// What is known of one pod's directory.
#[derive(Debug)]
enum Known {
    /// It is being looked for.
    Awaited,
    There,
    NotNeeded,
    /// Missing from the first time to the last.
    Missing {
        since: Time,
        last: Time,
        shown: Option<Shown>,
    },
}

/// The watched pods' directories.
#[derive(Debug)]
pub(crate) struct KubeletRoot {
    path: PathBuf,
    pods: BTreeMap<PodUid, (Name, Known)>,
    wrong: bool,
    closed: bool,
    next_look: Option<Time>,
}

/// What is newly known of the kubelet root.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// It isn't the one that the kubelet uses: a sentence about that.
    Wrong(String),
    /// The agent isn't allowed to look into it: a sentence about that.
    Closed(String),
    /// It is right after all.
    Right,
}

impl KubeletRoot {
    /// The root in use.
    pub(crate) const fn new(path: PathBuf) -> Self {
        Self { path, pods: BTreeMap::new(), wrong: false, closed: false, next_look: None }
    }

    /// A pod is watched, and its directory is looked for.
    pub(crate) fn watch(&mut self, pod: PodUid, namespace: Name) {
        self.pods.entry(pod).or_insert((namespace, Known::Awaited));
    }

    /// A pod isn't watched any more.
    pub(crate) fn forget(&mut self, pod: &PodUid) -> Option<Judgement> {
        self.pods.remove(pod);
        self.judge()
    }

    /// What was found of a pod's directory.
    pub(crate) fn take(&mut self, pod: &PodUid, home: Home, now: Time) -> Option<Judgement> {
        let is_first = self.next_look.is_none();
        // The pod may be gone by now, and others are looked for again all the same.
        self.next_look.get_or_insert(now + LOOK_EACH);
        let (_, known) = self.pods.get_mut(pod)?;
        match (home, &mut *known) {
            (Home::Closed, _) => {
                self.next_look = Some(now + LOOK_EACH);
                return self.take_closed(true);
            }
            // The kubelet removes it when the pod has ended.
            (_, Known::There) => {}
            (Home::There, _) => *known = Known::There,
            (Home::NotNeeded, _) => *known = Known::NotNeeded,
            (Home::Missing(shown), Known::Missing { since, .. }) => {
                *known = Known::Missing { since: *since, last: now, shown };
            }
            (Home::Missing(shown), _) => *known = Known::Missing { since: now, last: now, shown },
        }
        if is_first {
            self.next_look = Some(now + if self.is_right() { LOOK_INTO_EACH } else { LOOK_EACH });
        }
        let opened = self.take_closed(false);
        self.judge().or(opened)
    }

    /// Whether the agent isn't allowed to look into it.
    pub(crate) fn take_closed(&mut self, closed: bool) -> Option<Judgement> {
        if std::mem::replace(&mut self.closed, closed) == closed {
            return None;
        }
        self.wrong = false;
        Some(if closed { Judgement::Closed(self.closed_sentence()) } else { Judgement::Right })
    }

    /// Whether it may be wrong: some pod's directory wasn't looked for yet, or one is missing and none is there.
    pub(crate) fn is_doubtful(&self) -> bool {
        let doubts = |known: &Known| matches!(known, Known::Awaited | Known::Missing { .. });
        !self.is_right() && self.pods.values().any(|(_, known)| doubts(known))
    }

    /// Whether it isn't the one that the kubelet uses, as far as is known.
    pub(crate) const fn is_wrong(&self) -> bool {
        self.wrong
    }

    /// When [`Self::look_again`] is to be called.
    pub(crate) const fn next_look(&self) -> Option<Time> {
        self.next_look
    }

    /// The pods whose directory is to be looked for again.
    pub(crate) fn look_again(&mut self) -> Vec<PodUid> {
        self.next_look = None;
        let most = if self.is_right() { 1 } else { usize::MAX };
        self.pods.keys().take(most).cloned().collect()
    }

    fn is_right(&self) -> bool {
        self.pods.values().any(|(_, known)| matches!(known, Known::There))
    }

    fn judge(&mut self) -> Option<Judgement> {
        let is_missing = |known: &Known| matches!(known, Known::Missing { since, last, .. } if last.since(*since) >= WRONG_AFTER);
        let missing = || self.pods.values().any(|(_, known)| is_missing(known));
        let wrong = !self.is_right() && missing();
        if std::mem::replace(&mut self.wrong, wrong) == wrong {
            return None;
        }
        Some(if wrong { Judgement::Wrong(self.sentence()) } else { Judgement::Right })
    }

    fn closed_sentence(&self) -> String {
        let root = quoted(&self.path.to_string_lossy());
        format!(
            "the agent isn't allowed to look into the kubelet's directory of pods (\"pods\" in --kubelet-root {root}): SELinux, \
             AppArmor or file permissions refuse it; until it is, changes aren't seen"
        )
    }

    fn sentence(&self) -> String {
        let root = quoted(&self.path.to_string_lossy());
        let seen = match self.mostly_shown() {
            Some(Shown { on_host: true, path }) => format!("containers' mounts show {}", quoted(path)),
            Some(Shown { on_host: false, path }) => {
                format!("containers' mounts show {} in a file system of its own", quoted(path))
            }
            None => "containers' mounts don't show the right one".to_owned(),
        };
        format!(
            "--kubelet-root {root} isn't the kubelet's: pods run and the directory of none of them is below it; {seen}; \
             until the agent has the kubelet's, changes aren't seen"
        )
    }

    /// The root that most namespaces' containers show: a namespace counts once, however many containers it runs.
    fn mostly_shown(&self) -> Option<&Shown> {
        let mut of_namespaces: BTreeMap<&Name, BTreeMap<&Shown, usize>> = BTreeMap::new();
        for (namespace, known) in self.pods.values() {
            if let Known::Missing { shown: Some(shown), .. } = known {
                *of_namespaces.entry(namespace).or_default().entry(shown).or_default() += 1;
            }
        }
        let mut votes: BTreeMap<&Shown, usize> = BTreeMap::new();
        for shown in of_namespaces.values().filter_map(most) {
            *votes.entry(shown).or_default() += 1;
        }
        most(&votes)
    }
}

fn most<'a>(votes: &BTreeMap<&'a Shown, usize>) -> Option<&'a Shown> {
    votes.iter().max_by_key(|(_, count)| **count).map(|(shown, _)| *shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Time {
        Time::since_boot(Duration::from_secs(seconds))
    }

    fn uid(n: usize) -> PodUid {
        PodUid::parse(&format!("{n:08}")).unwrap()
    }

    fn shown(path: &str) -> Home {
        Home::Missing(Some(Shown { on_host: true, path: path.to_owned() }))
    }

    fn root(namespaces: &[&str]) -> KubeletRoot {
        let mut root = KubeletRoot::new("/var/lib/kubelet".into());
        for (n, namespace) in namespaces.iter().enumerate() {
            root.watch(uid(n), (*namespace).into());
        }
        root
    }

    #[test]
    fn a_root_without_the_directory_of_any_running_pod_is_wrong_after_20_s() {
        let mut root = root(&["a", "b"]);
        assert!(root.is_doubtful(), "not looked for yet");
        assert_eq!(root.take(&uid(0), shown("/data/kubelet"), at(0)), None);
        assert_eq!(root.take(&uid(1), Home::NotNeeded, at(0)), None);
        assert!(root.is_doubtful());
        assert_eq!(root.next_look(), Some(at(5)));
        assert_eq!(root.look_again(), [uid(0), uid(1)]);
        assert_eq!(root.take(&uid(0), shown("/data/kubelet"), at(19)), None);
        let judged = root.take(&uid(0), shown("/data/kubelet"), at(20));
        let Some(Judgement::Wrong(sentence)) = judged else { panic!("{judged:?}") };
        for path in ["\"/var/lib/kubelet\"", "\"/data/kubelet\""] {
            assert!(sentence.contains(path), "{sentence}");
        }
        assert_eq!(root.take(&uid(0), shown("/data/kubelet"), at(25)), None, "said once");
        assert_eq!(root.take(&uid(1), Home::There, at(30)), Some(Judgement::Right));
        assert!(!root.is_doubtful());
    }

    #[test]
    fn a_missing_directory_is_its_pods_affair_where_others_are_there() {
        let mut root = root(&["a", "b"]);
        assert_eq!(root.take(&uid(1), Home::There, at(0)), None);
        for seconds in [0, 20, 60] {
            assert_eq!(root.take(&uid(0), shown("/mine"), at(seconds)), None);
        }
        assert!(!root.is_doubtful());
    }

    #[test]
    fn a_namespace_counts_once_for_the_path_that_is_named() {
        let mut root = root(&["many", "many", "many", "b", "c"]);
        for n in 0..3 {
            root.take(&uid(n), shown("/a lie\n"), at(0));
        }
        root.take(&uid(3), shown("/data"), at(0));
        root.take(&uid(4), shown("/data"), at(0));
        let Some(Judgement::Wrong(sentence)) = root.take(&uid(4), shown("/data"), at(30)) else { panic!() };
        assert!(sentence.contains("\"/data\"") && !sentence.contains("lie"), "{sentence}");
        assert_eq!(root.forget(&uid(4)), Some(Judgement::Right), "the others were missing for a moment only");
    }

    #[test]
    fn a_root_that_is_closed_is_said_once_and_looked_at_again_until_it_isnt() {
        let mut root = root(&["a", "b"]);
        root.take(&uid(0), Home::There, at(0));
        assert_eq!(root.next_look(), Some(at(15)), "whether it still may be looked at");
        assert_eq!(root.look_again(), [uid(0)]);
        let judged = root.take(&uid(0), Home::Closed, at(30));
        let Some(Judgement::Closed(sentence)) = judged else { panic!("{judged:?}") };
        assert!(sentence.contains("\"/var/lib/kubelet\""), "{sentence}");
        assert!(root.closed);
        assert_eq!(root.take(&uid(1), Home::Closed, at(31)), None, "said once");
        assert_eq!(root.next_look(), Some(at(36)));
        root.look_again();
        assert_eq!(root.take(&uid(0), shown("/removed by the kubelet"), at(36)), Some(Judgement::Right));
        assert!(!root.closed && !root.is_wrong());
        assert_eq!(root.take(&uid(0), shown("/removed by the kubelet"), at(66)), None, "it was there once");
    }

    #[test]
    fn without_a_pod_nothing_is_in_doubt() {
        let mut root = root(&["a"]);
        root.take(&uid(0), shown("/data"), at(0));
        root.forget(&uid(0));
        assert!(!root.is_doubtful());
        assert!(root.look_again().is_empty());
    }
}
