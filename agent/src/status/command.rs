//! `reloadlet status`: what the agent on this node sees, or a replica of the controller.

use std::io::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, ValueEnum};
use http_body_util::{BodyExt as _, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::HOST;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpStream;

use super::controller;
use super::document::{self, Document};
use super::table::table;
use crate::address::address;
use crate::switch::yes_or_no;

/// An agent answers in milliseconds; one that is this late won't.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is asked for.
#[derive(Clone, Debug, Args, PartialEq, Eq)]
pub(crate) struct StatusFlags {
    /// Address at which the agent, or the controller, serves /status
    #[arg(long, env = "RELOADLET_ADMIN_LISTEN", value_name = "IP:PORT", value_parser = address)]
    #[arg(default_value = "127.0.0.1:9848")]
    admin_listen: SocketAddr,

    /// Ask a replica of the controller instead of the agent
    #[arg(long, env = "RELOADLET_CONTROLLER", value_parser = yes_or_no)]
    controller: bool,

    /// How the status is written
    #[arg(long, short, env = "RELOADLET_OUTPUT", value_name = "FORMAT", value_enum, default_value = "table")]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A table for people.
    Table,
    /// As it is served.
    Json,
}

/// Asks the agent and prints what it says.
pub(crate) fn print(flags: &StatusFlags) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let text = runtime.block_on(async {
        let asked = tokio::time::timeout(PATIENCE, ask(flags.admin_listen)).await;
        asked.unwrap_or_else(|_late| bail!("no answer within {} s", PATIENCE.as_secs()))
    });
    let who = if flags.controller { "controller" } else { "agent" };
    let text = text.with_context(|| format!("can't ask the {who} at {}", flags.admin_listen))?;
    let text = written(flags, &text)?;
    match std::io::stdout().write_all(text.as_bytes()) {
        // Who reads it has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("can't write the status"),
    }
}

/// The kind of a document.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Versioned {
    api_version: String,
}

/// What is printed of a document.
fn written(flags: &StatusFlags, text: &str) -> Result<String> {
    let address = flags.admin_listen;
    let version = serde_json::from_str(text).map(|Versioned { api_version }| api_version).ok();
    match (flags.controller, version.as_deref()) {
        (false, Some(controller::API_VERSION)) => {
            bail!("what serves /status at {address} is a controller and no agent: ask it with --controller")
        }
        (true, Some(document::API_VERSION)) => {
            bail!(
                "what serves /status at {address} is an agent and no controller: ask it without --controller"
            )
        }
        _ => {}
    }
    let other = |who: &str| format!("what serves /status at {address} is no {who} of this version");
    match (flags.output, flags.controller) {
        (Output::Json, _) => Ok(format!("{text}\n")),
        (Output::Table, false) => {
            ensure!(version.as_deref() == Some(document::API_VERSION), other("agent"));
            let document: Document = serde_json::from_str(text).with_context(|| other("agent"))?;
            Ok(table(&document))
        }
        (Output::Table, true) => {
            ensure!(version.as_deref() == Some(controller::API_VERSION), other("controller"));
            let document = serde_json::from_str(text).with_context(|| other("controller"))?;
            Ok(controller::table(&document))
        }
    }
}

async fn ask(address: SocketAddr) -> Result<String> {
    let connection =
        TcpStream::connect(address).await.context("does it run, and is this its --admin-listen?")?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(connection)).await?;
    // The agent answers loopback names only, whatever the address that it was told to listen on.
    let host = format!("localhost:{}", address.port());
    let request = Request::get("/status").header(HOST, host).body(Empty::<Bytes>::new())?;
    // It owns the sender, and the connection ends with that if the agent hasn't closed it by then.
    let answer = async move {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        anyhow::Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    let (answer, ended) = tokio::join!(answer, connection);
    if let Err(error) = ended
        && answer.is_err()
    {
        return Err(error.into());
    }
    let (status, text) = answer?;
    if !status.is_success() {
        bail!("it answered {status}: {}", text.trim());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    fn flags(controller: bool, output: Output) -> StatusFlags {
        StatusFlags { admin_listen: SocketAddr::from(([127, 0, 0, 1], 9848)), controller, output }
    }

    const AGENT: &str = r#"{"apiVersion":"status.reloadlet.io/v1","agent":{"version":"1","lacks":[],"watches":[],"requests":{}},"pods":[]}"#;
    const CONTROLLER: &str = r#"{"apiVersion":"controller.status.reloadlet.io/v1","time":"","controller":{"version":"1","name":"a","leads":true,"leader":"a","fence":"holds","lacks":[],"watches":[],"requests":{}},"holds":[],"workloads":[],"more":0}"#;

    #[test]
    fn whoever_asks_the_agent_for_the_controller_or_the_other_way_round_is_told_what_to_ask() {
        let said = |controller, output, text| {
            written(&flags(controller, output), text).map_err(|error| error.to_string())
        };
        for output in [Output::Table, Output::Json] {
            assert!(said(false, output, AGENT).is_ok() && said(true, output, CONTROLLER).is_ok());
            assert_eq!(
                said(false, output, CONTROLLER).unwrap_err(),
                "what serves /status at 127.0.0.1:9848 is a controller and no agent: ask it with --controller"
            );
            assert_eq!(
                said(true, output, AGENT).unwrap_err(),
                "what serves /status at 127.0.0.1:9848 is an agent and no controller: ask it without --controller"
            );
        }
        assert_eq!(said(true, Output::Json, CONTROLLER).unwrap(), format!("{CONTROLLER}\n"));
        let later = CONTROLLER.replace("io/v1", "io/v9");
        for (controller, who) in [(false, "agent"), (true, "controller")] {
            for other in ["{}", "pods", &later] {
                assert_eq!(
                    said(controller, Output::Table, other).unwrap_err(),
                    format!("what serves /status at 127.0.0.1:9848 is no {who} of this version")
                );
            }
            assert_eq!(said(controller, Output::Json, "{}").unwrap(), "{}\n");
        }
    }

    #[test]
    fn a_loopback_name_is_asked_for_at_every_address() {
        // One of the addresses that an operator may have the agent listen on.
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let agent = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.extend(byte);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").unwrap();
            String::from_utf8(head).unwrap()
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let text = runtime.block_on(ask(SocketAddr::from(([0, 0, 0, 0], port)))).unwrap();
        assert_eq!(text, "{}");
        let head = agent.join().unwrap();
        assert!(head.contains(&format!("\r\nhost: localhost:{port}\r\n")), "{head}");
    }
}
