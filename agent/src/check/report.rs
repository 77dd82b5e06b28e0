//! All that is found in some texts.

use std::collections::{BTreeMap, BTreeSet};

use reloadlet_core::model::names::Name;
use reloadlet_core::model::shown::{plain, unquoted};
use reloadlet_core::policy::plan::Allowed;
use reloadlet_core::policy::references::Reference;
use reloadlet_manifest::{Found, OtherObject, Unreadable, Workload, WorkloadKind};

use super::codes::Code;
use super::finding::{Finding, Level};
use super::findings;
use super::flags::Flags;
use super::objects::Objects;
use super::sources::Source;

/// So many references and findings are told: a small workload can have thousands of them.
const MOST_TOLD: usize = 500_000;
/// So much text is told, in bytes, with what is kept of each reference and finding: it is written once more before it is printed.
const MOST_BYTES: usize = 48 << 20;

/// So many kinds that aren't known are named in one sentence.
const MOST_KINDS: usize = 8;

/// How the programs run where the manifests are applied.
#[derive(Debug, Default)]
pub(super) struct Installed {
    /// What the agents allow.
    pub(super) allowed: Allowed,
    /// Whether the agents see what Secrets say of themselves (`--watch-secrets`).
    pub(super) watch_secrets: bool,
    /// Reloader's flags.
    pub(super) reloader: Flags,
}

/// What is told.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// The workloads that use any object, or of which something is found, in their order.
    pub(super) workloads: Vec<Checked>,
    /// How many workloads there are.
    pub(super) count: usize,
    /// How many documents of the directories are no whole manifests.
    pub(super) others: usize,
    /// What has a template of pods, but is of a kind that isn't known.
    pub(super) unjudged: Unjudged,
    /// What can't be read.
    pub(super) unreadable: Vec<Unread>,
}

/// How many there are of each kind that other programs bring.
#[derive(Debug, Default)]
pub(super) struct Unjudged(BTreeMap<(String, String), usize>);

impl Unjudged {
    fn add(&mut self, object: OtherObject) {
        *self.0.entry((object.kind, object.group)).or_default() += 1;
    }

    /// Each kind and its group, with how many there are.
    pub(super) fn kinds(&self) -> impl Iterator<Item = (&str, &str, usize)> {
        self.0.iter().map(|((kind, group), count)| (&**kind, &**group, *count))
    }

    /// What is said of them; `None` if there are none.
    pub(super) fn sentence(&self) -> Option<String> {
        let written = |(kind, group, count): (&str, &str, usize)| {
            let of = if group.is_empty() { String::new() } else { format!(".{group}") };
            format!("{count} {}", unquoted(&format!("{kind}{of}")))
        };
        let mut kinds: Vec<String> = self.kinds().take(MOST_KINDS).map(written).collect();
        if let more @ 1.. = self.0.len().saturating_sub(MOST_KINDS) {
            kinds.push(format!("and those of {more} more kinds"));
        }
        let all = (!kinds.is_empty()).then(|| kinds.join(", "))?;
        Some(format!(
            "not judged, as these kinds aren't known, though agents tell their pods as any others: {all}; a template that is written as a \
             PodTemplate is judged"
        ))
    }
}

/// One workload.
#[derive(Debug)]
pub(super) struct Checked {
    pub(super) file: String,
    pub(super) line: usize,
    pub(super) kind: WorkloadKind,
    pub(super) namespace: Option<Name>,
    pub(super) name: Name,
    pub(super) references: Vec<Reference>,
    pub(super) findings: Vec<Finding>,
}

/// A text, or a part of one, that can't be read.
#[derive(Debug)]
pub(super) struct Unread {
    pub(super) file: String,
    pub(super) line: Option<usize>,
    /// The whole sentence, without the file.
    pub(super) sentence: String,
}

impl Unread {
    fn new(file: String, line: Option<usize>, sentence: &str) -> Self {
        Self { file, line, sentence: plain(sentence) }
    }
}

impl Report {
    /// What these texts hold, without findings of these codes; Reloader runs with these flags.
    pub(super) fn of(sources: Vec<Source>, ignored: &BTreeSet<Code>, installed: Installed) -> Self {
        let Installed { allowed, watch_secrets, reloader } = installed;
        let (mut report, mut workloads) = (Self::default(), Vec::new());
        let mut objects = Objects::new(reloader, watch_secrets);
        for Source { name, is_listed, found } in sources {
            let found = match found {
                Ok(found) => found,
                Err(error) => {
                    report.unreadable.push(Unread::new(name, None, &format!("can't be read: {error}")));
                    continue;
                }
            };
            for one in found {
                match one {
                    Ok(Found::Workload(workload)) if is_listed && !workload.is_whole => report.others += 1,
                    Ok(Found::Workload(workload)) => workloads.push((name.clone(), workload)),
                    Ok(Found::Other(object)) if object.makes_pods => report.unjudged.add(object),
                    Ok(Found::Other(object)) => objects.add(object),
                    Err(Unreadable { error, .. }) if is_listed && error.is_of_a_part() => report.others += 1,
                    Err(error) => {
                        let unread = Unread::new(name.clone(), Some(error.line), &error.to_string());
                        report.unreadable.push(unread);
                    }
                }
            }
        }
        report.count = workloads.len();
        let (mut left, mut left_bytes) = (MOST_TOLD, MOST_BYTES);
        for (file, workload) in workloads {
            let checked = Checked::of(file, workload, &objects, allowed, ignored);
            let told = checked.references.len() + checked.findings.len();
            let rest = left.checked_sub(told).zip(left_bytes.checked_sub(checked.bytes()));
            let Some(rest) = rest else {
                let sentence = format!(
                    "{} and what follows isn't checked: there is too much before it",
                    checked.title()
                );
                report.unreadable.push(Unread::new(checked.file, Some(checked.line), &sentence));
                break;
            };
            (left, left_bytes) = rest;
            if told > 0 {
                report.workloads.push(checked);
            }
        }
        report
    }

    /// The level of what matters most.
    pub(super) fn worst(&self) -> Option<Level> {
        self.workloads.iter().flat_map(|checked| &checked.findings).map(|finding| finding.level).max()
    }
}

impl Checked {
    fn of(
        file: String,
        workload: Workload,
        objects: &Objects,
        allowed: Allowed,
        ignored: &BTreeSet<Code>,
    ) -> Self {
        let (references, mut findings) = findings::of(&workload, objects, allowed);
        findings.retain(|finding| !ignored.contains(&finding.code));
        let Workload { kind, namespace, name, line, .. } = workload;
        Self { file, line, kind, namespace, name, references, findings }
    }

    /// How much memory it takes, about.
    fn bytes(&self) -> usize {
        let findings = self.findings.iter().map(|finding| {
            size_of::<Finding>() + finding.sentence.len() + finding.remedy.as_ref().map_or(0, String::len)
        });
        self.references.len() * size_of::<Reference>() + findings.sum::<usize>()
    }

    /// What it is called: `Deployment shop/web`.
    pub(super) fn title(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{} {namespace}/{}", self.kind, self.name),
            None => format!("{} {}", self.kind, self.name),
        }
    }
}
