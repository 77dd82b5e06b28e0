//! The codes of findings: a contract, each with its place in docs/check.md.

use std::fmt;

use reloadlet_core::model::closed::closed_set;
use reloadlet_core::policy::problem::ProblemKind;
use reloadlet_core::policy::references::Why;
use reloadlet_core::policy::reloader::RemarkKind;

closed_set! {
    /// What kind of finding.
    pub(crate) enum Code {
        /// See [`Why::FrozenEnvironment`].
        FrozenEnv => "frozen-env",
        /// See [`Why::FrozenArguments`].
        FrozenArgs => "frozen-args",
        /// See [`Why::FrozenSubPath`].
        FrozenSubPath => "frozen-subpath",
        /// See [`Why::EmptySubPath`].
        EmptySubPath => "empty-subpath",
        /// See [`Why::InitContainer`].
        InitContainer => "init-container",
        /// See [`Why::Unmounted`].
        Unmounted => "unmounted",
        /// See [`Why::Unasked`].
        Unasked => "unasked",
        /// See [`Why::OtherContainer`].
        OtherContainer => "other-container",
        /// See [`Why::Sidecar`].
        Sidecar => "sidecar",
        /// See [`Why::Ephemeral`].
        EphemeralContainer => "ephemeral-container",
        /// See [`Why::Writable`].
        CsiWritable => "csi-writable",
        /// An object of which no file counts.
        OtherKeys => "other-keys",
        /// A subPath mount beside a mount of the same volume as a directory, in one container.
        SubPathBesideDirectory => "subpath-beside-directory",
        /// An annotation of ours on a workload, whose pods have those of its template.
        MisplacedAnnotation => "misplaced-annotation",
        /// An object that isn't among the manifests.
        MissingObject => "missing-object",
        /// A key that its object doesn't have among the manifests.
        MissingKey => "missing-key",
        /// An object or a key that may be missing, and is: who starts without it goes on without it.
        OptionalAbsent => "optional-absent",
        /// A key that older kubelets leave out of an environment.
        SkippedVariable => "skipped-variable",
        /// A ConfigMap, a Secret or a key that is named by an empty text, or by none.
        EmptyName => "empty-name",
        /// A mount of a volume that the pod doesn't have.
        MissingVolume => "missing-volume",
        /// An object that never changes.
        Immutable => "immutable",
        /// An object that its owner keeps from triggering anything.
        Ignored => "ignored",
        /// A process that nothing of what the manifest runs is called.
        ProcessName => "process-name",
        /// A container that can't be restarted in place, of a workload that asks for that.
        NotInPlace => "not-in-place",
        /// A signal that ends programs, where nobody starts the container again.
        RestartPolicy => "restart-policy",
        /// A signal that ends programs.
        EndingSignal => "ending-signal",
        /// A checksum of a configuration in the template, beside a container that is told of changes.
        HelmChecksum => "helm-checksum",
        /// What Reloader does when an object changes, and what reloadlet does.
        ReloaderRolls => "reloader-rolls",
        /// See [`RemarkKind::Value`].
        ReloaderValue => "reloader-value",
        /// See [`RemarkKind::Expression`].
        ReloaderExpression => "reloader-expression",
        /// See [`RemarkKind::Alternation`].
        ReloaderAlternation => "reloader-alternation",
        /// See [`RemarkKind::Dot`].
        ReloaderDot => "reloader-dot",
        /// See [`RemarkKind::Hidden`].
        ReloaderHidden => "reloader-hidden",
        /// See [`RemarkKind::Misplaced`].
        ReloaderMisplaced => "reloader-misplaced",
        /// See [`RemarkKind::Contradiction`].
        ReloaderContradiction => "reloader-contradiction",
        /// See [`ProblemKind::UnknownKey`].
        UnknownKey => "unknown-key",
        /// See [`ProblemKind::Unsupported`].
        Unsupported => "unsupported",
        /// See [`ProblemKind::BadValue`].
        BadValue => "bad-value",
        /// See [`ProblemKind::NotText`].
        NotText => "not-text",
        /// See [`ProblemKind::NoSignal`].
        NoSignal => "no-signal",
        /// See [`ProblemKind::Container`].
        Container => "container",
        /// See [`ProblemKind::Volume`].
        Volume => "volume",
        /// See [`ProblemKind::Ambiguous`].
        Ambiguous => "ambiguous",
        /// See [`ProblemKind::Port`].
        Port => "port",
        /// See [`ProblemKind::HostNetwork`].
        HostNetwork => "host-network",
        /// See [`ProblemKind::Supervisor`].
        Supervisor => "supervisor",
        /// A pod that runs where no agent does.
        Os => "os",
        /// A pod whose processes may be hidden from agents.
        RuntimeClass => "runtime-class",
        /// A signal that what runs a program takes for itself.
        Harmful => "harmful-signal",
        /// See [`ProblemKind::TooLarge`].
        TooLarge => "too-large",
    }
}

/// Where all of them are explained.
pub(super) const PAGE: &str = "docs/check.md";

/// A code as somebody typed it.
pub(super) fn code(text: &str) -> Result<Code, UnknownCode> {
    Code::ALL.into_iter().find(|code| code.as_str() == text).ok_or(UnknownCode)
}

/// A text that is no code.
#[derive(Clone, Copy, Debug)]
pub(super) struct UnknownCode;

impl fmt::Display for UnknownCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = Code::ALL.map(Code::as_str);
        write!(f, "one of these codes is needed: {}", all.join(", "))
    }
}

impl std::error::Error for UnknownCode {}

/// The code of what a change does; `None` where somebody has said that it is meant so, or something else is found for it.
pub(super) const fn of_reference(why: Why) -> Option<Code> {
    match why {
        Why::FrozenEnvironment => Some(Code::FrozenEnv),
        Why::FrozenArguments => Some(Code::FrozenArgs),
        Why::FrozenSubPath => Some(Code::FrozenSubPath),
        Why::EmptySubPath => Some(Code::EmptySubPath),
        Why::Ephemeral => Some(Code::EphemeralContainer),
        Why::Writable => Some(Code::CsiWritable),
        Why::InitContainer => Some(Code::InitContainer),
        Why::Unmounted => Some(Code::Unmounted),
        Why::Unasked => Some(Code::Unasked),
        Why::OtherContainer => Some(Code::OtherContainer),
        Why::Sidecar => Some(Code::Sidecar),
        // Of these something is said once of each object, container or pod.
        Why::Immutable | Why::Ignored | Why::OtherKeys | Why::Supervisor | Why::System => None,
        Why::Told | Why::Watches | Why::Problem | Why::OtherVolume | Why::ClusterObject => None,
    }
}

/// The code of a problem; `None` for those that only a running pod can have.
pub(super) const fn of_problem(kind: ProblemKind) -> Option<Code> {
    match kind {
        ProblemKind::UnknownKey => Some(Code::UnknownKey),
        ProblemKind::Unsupported => Some(Code::Unsupported),
        ProblemKind::BadValue => Some(Code::BadValue),
        ProblemKind::NotText => Some(Code::NotText),
        ProblemKind::NoSignal => Some(Code::NoSignal),
        ProblemKind::Container => Some(Code::Container),
        ProblemKind::Volume => Some(Code::Volume),
        ProblemKind::Ambiguous => Some(Code::Ambiguous),
        ProblemKind::TooLarge => Some(Code::TooLarge),
        ProblemKind::Port => Some(Code::Port),
        ProblemKind::HostNetwork => Some(Code::HostNetwork),
        ProblemKind::Supervisor => Some(Code::Supervisor),
        ProblemKind::NoAddress
        | ProblemKind::Layout
        | ProblemKind::Unhandled
        | ProblemKind::Suspended
        | ProblemKind::BadContent
        | ProblemKind::NoRoom
        | ProblemKind::Agent
        | ProblemKind::KubeletRoot => None,
    }
}

/// The code of a remark about Reloader's annotations.
pub(super) const fn of_remark(kind: RemarkKind) -> Code {
    match kind {
        RemarkKind::Value => Code::ReloaderValue,
        RemarkKind::Expression => Code::ReloaderExpression,
        RemarkKind::Alternation => Code::ReloaderAlternation,
        RemarkKind::Dot => Code::ReloaderDot,
        RemarkKind::Hidden => Code::ReloaderHidden,
        RemarkKind::Misplaced => Code::ReloaderMisplaced,
        RemarkKind::Contradiction => Code::ReloaderContradiction,
        RemarkKind::NotText => Code::NotText,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_has_its_place_on_the_page_and_each_place_its_code() {
        let page = include_str!("../../../docs/check.md");
        let places: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
        assert_eq!(places, Code::ALL.map(Code::as_str));
    }

    #[test]
    fn remarks_have_the_codes_that_they_name() {
        for kind in RemarkKind::ALL {
            assert_eq!(of_remark(kind).as_str(), kind.as_str());
        }
    }

    #[test]
    fn a_code_that_doesnt_exist_is_said_with_those_that_do() {
        assert_eq!(code("frozen-env").unwrap(), Code::FrozenEnv);
        let error = code("frozen").unwrap_err().to_string();
        assert!(error.starts_with("one of these codes is needed: frozen-env, frozen-args, "), "{error}");
    }
}
