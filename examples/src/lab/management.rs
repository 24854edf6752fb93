//! The management socket of a lwaftr in the lab: one connection, one request after the other.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// A connection.
#[derive(Debug)]
pub(super) struct Management(BufReader<UnixStream>);

impl Management {
    /// Connects.
    pub(super) fn connect(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Asks; returns status and JSON.
    pub(super) fn call(
        &mut self,
        method: &str,
        path: &str,
        body: &[u8],
    ) -> Result<(u16, Value), String> {
        let done = self.exchange(method, path, body);
        let (status, body) = done.map_err(|error| format!("{method} {path}: {error}"))?;
        let value = serde_json::from_slice(&body)
            .map_err(|error| format!("{method} {path}: answer {status}: {error}"))?;
        Ok((status, value))
    }

    /// Asks for what has to succeed.
    pub(super) fn ask(&mut self, method: &str, path: &str, body: &[u8]) -> Result<Value, String> {
        match self.call(method, path, body)? {
            (200..300, value) => Ok(value),
            (status, value) => Err(format!("{method} {path}: {status} {value}")),
        }
    }

    fn exchange(&mut self, method: &str, path: &str, body: &[u8]) -> io::Result<(u16, Vec<u8>)> {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: lwaftr\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            body.len()
        );
        self.0
            .get_mut()
            .write_all(&[head.as_bytes(), body].concat())?;
        let status = self.line()?;
        let status = status.split_whitespace().nth(1);
        let status = status.and_then(|status| status.parse().ok());
        let status = status.ok_or(io::ErrorKind::InvalidData)?;
        let mut len = 0;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                len = value
                    .trim()
                    .parse()
                    .map_err(|_| io::ErrorKind::InvalidData)?;
            }
        }
        let mut body = vec![0; len];
        self.0.read_exact(&mut body)?;
        Ok((status, body))
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}
