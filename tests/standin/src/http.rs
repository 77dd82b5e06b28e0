//! The smallest HTTP client that a test on loopback needs.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::time::Duration;

use crate::error::{At, Error};

/// Status and body.
#[derive(Debug, Clone)]
pub struct Response {
    /// E.g. 200.
    pub status: u16,
    /// The header lines, as sent.
    pub head: String,
    /// The body.
    pub body: String,
}

/// GET over HTTP/1.0, each read and write within 5 s.
pub fn http_get(address: SocketAddr, path: &str) -> Result<Response, Error> {
    let limit = Duration::from_secs(5);
    let url = PathBuf::from(format!("http://{address}{path}"));
    let mut stream = TcpStream::connect_timeout(&address, limit).at("connect to", &url)?;
    stream.set_read_timeout(Some(limit)).at("set up", &url)?;
    stream.set_write_timeout(Some(limit)).at("set up", &url)?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).at("write to", &url)?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).at("read", &url)?;
    let text = String::from_utf8_lossy(&bytes);
    let malformed =
        || Error::Malformed { what: url.display().to_string(), message: "not an HTTP answer".to_owned() };
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(malformed)?;
    let status = head.split(' ').nth(1).and_then(|word| word.parse().ok()).ok_or_else(malformed)?;
    Ok(Response { status, head: head.to_owned(), body: body.to_owned() })
}
