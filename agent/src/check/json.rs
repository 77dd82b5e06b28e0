//! The report as programs read it: `check.reloadlet.io/v1`.

use reloadlet_core::model::pod::ContainerKind;
use reloadlet_core::policy::references::{Effect, Reference, Subject};
use serde::Serialize;

use super::report::{Checked, Report};

const VERSION: &str = "check.reloadlet.io/v1";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    api_version: &'a str,
    workloads: Vec<WorkloadDocument<'a>>,
    unreadable: Vec<UnreadDocument<'a>>,
    not_judged: Vec<KindDocument<'a>>,
}

#[derive(Serialize)]
struct KindDocument<'a> {
    group: &'a str,
    kind: &'a str,
    count: usize,
}

#[derive(Serialize)]
struct WorkloadDocument<'a> {
    file: &'a str,
    line: usize,
    kind: &'a str,
    namespace: Option<&'a str>,
    name: &'a str,
    references: Vec<ReferenceDocument<'a>>,
    findings: Vec<FindingDocument<'a>>,
}

#[derive(Serialize)]
struct ReferenceDocument<'a> {
    container: Option<&'a str>,
    role: Option<&'a str>,
    kind: &'a str,
    object: &'a str,
    keys: Vec<&'a str>,
    optional: bool,
    way: &'a str,
    volume: Option<&'a str>,
    /// `signal`, `http`, `itself`, `roll` or `never`.
    effect: &'a str,
    signal: Option<String>,
    request: Option<String>,
    why: &'a str,
    /// Whether it is so wherever the manifests are applied.
    certain: bool,
}

#[derive(Serialize)]
struct FindingDocument<'a> {
    code: &'a str,
    level: &'a str,
    sentence: &'a str,
    remedy: Option<&'a str>,
}

#[derive(Serialize)]
struct UnreadDocument<'a> {
    file: &'a str,
    line: Option<usize>,
    sentence: &'a str,
}

/// The document, with a line's end.
pub(super) fn document(report: &Report) -> Result<String, serde_json::Error> {
    let unreadable = report.unreadable.iter();
    let not_judged = report.unjudged.kinds();
    let document = Document {
        api_version: VERSION,
        workloads: report.workloads.iter().map(workload).collect(),
        unreadable: unreadable
            .map(|unread| UnreadDocument {
                file: &unread.file,
                line: unread.line,
                sentence: &unread.sentence,
            })
            .collect(),
        not_judged: not_judged.map(|(kind, group, count)| KindDocument { group, kind, count }).collect(),
    };
    serde_json::to_string(&document).map(|text| text + "\n")
}

fn workload(checked: &Checked) -> WorkloadDocument<'_> {
    let findings = checked.findings.iter().map(|finding| FindingDocument {
        code: finding.code.as_str(),
        level: finding.level.as_str(),
        sentence: &finding.sentence,
        remedy: finding.remedy.as_deref(),
    });
    WorkloadDocument {
        file: &checked.file,
        line: checked.line,
        kind: checked.kind.as_str(),
        namespace: checked.namespace.as_deref(),
        name: &checked.name,
        references: checked.references.iter().map(reference).collect(),
        findings: findings.collect(),
    }
}

fn reference(reference: &Reference) -> ReferenceDocument<'_> {
    let (effect, signal, request) = match &reference.effect {
        Effect::Signal(signal) => ("signal", Some(signal.to_string()), None),
        Effect::Http(request) => ("http", None, Some(request.to_string())),
        Effect::Itself => ("itself", None, None),
        Effect::Roll => ("roll", None, None),
        Effect::Restart => ("restart", None, None),
        Effect::Never => ("never", None, None),
    };
    ReferenceDocument {
        container: reference.container.as_deref(),
        role: reference.role.map(|role| match role {
            ContainerKind::Regular => "regular",
            ContainerKind::Sidecar => "sidecar",
            ContainerKind::Init => "init",
            ContainerKind::Ephemeral => "ephemeral",
        }),
        kind: match &reference.subject {
            Subject::Object(kind, _) => kind.as_str(),
            Subject::Class(_) => "secretproviderclass",
            Subject::Driver(_) => "csidriver",
        },
        object: reference.subject.name(),
        keys: reference.part.written_keys().into_iter().map(|key| &**key).collect(),
        optional: reference.optional,
        way: reference.way.as_str(),
        volume: reference.volume.as_deref(),
        effect,
        signal,
        request,
        why: reference.why.as_str(),
        certain: reference.is_certain,
    }
}
