//! A grant of a restart in place, with what the pod's spec and status say of how the containers that it names end and start.

use std::time::Duration;

use crate::model::names::Name;
use crate::model::restart::{Finding, Grant, Instance};
use crate::model::signal::Signal;

/// What the annotation of a grant comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// It is to be carried out.
    Granted(Granted),
    /// Nothing comes of it, for this reason.
    Ignored(&'static str),
}

/// A grant that is to be carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// What is granted.
    pub grant: Grant,
    /// How long the containers have to end.
    pub grace: Duration,
    /// The containers, in the grant's order.
    pub containers: Vec<Stopping>,
}

/// A container that is to be ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopping {
    /// Its name.
    pub name: Name,
    /// Which one of that name.
    pub instance: Instance,
    /// By what it is ended, or what stands against that, whatever its processes do.
    pub stop: Result<Signal, Obstacle>,
}

/// What stands against ending a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    /// The pod has no such container.
    NoContainer,
    /// It is no regular container and no native sidecar.
    NotRunAgain,
    /// It isn't started again whenever it ends, or by rules of its own.
    Policy,
    /// It has a `preStop` hook.
    PreStop,
    /// Its stop signal is none that lets a program end in an orderly way.
    StopSignal,
}

impl Obstacle {
    /// What is said of the grant.
    pub const fn finding(self) -> Finding {
        match self {
            Self::NoContainer | Self::NotRunAgain | Self::Policy | Self::StopSignal => Finding::NoRestart,
            Self::PreStop => Finding::PreStop,
        }
    }

    /// The reason, for people.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::NoContainer => "the pod has no such container",
            Self::NotRunAgain => {
                "it is neither a regular container nor a native sidecar, and isn't run again"
            }
            Self::Policy => {
                "a container is only ended where its pod's restartPolicy is Always, and neither it nor rules of its own \
                 (restartPolicyRules) say otherwise"
            }
            Self::PreStop => "it has a preStop hook, which only the kubelet runs",
            Self::StopSignal => "its stop signal is none that lets a program end in an orderly way",
        }
    }
}

/// By what a container is stopped, as a spec or a status says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// This signal.
    Signal(Signal),
    /// SIGKILL, or another one that is never sent.
    Other,
}

impl Stop {
    /// Reads `SIGTERM` and the like.
    pub fn parse(text: &str) -> Self {
        Signal::parse(text).map_or(Self::Other, Self::Signal)
    }
}
