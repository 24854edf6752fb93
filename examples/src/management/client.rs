//! The client of the management socket.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

/// Where the socket is unless something else is said.
pub const DEFAULT_SOCKET: &str = "/run/lwaftr/lwaftr.sock";

/// Longest line of a stream.
const MAX_LINE: usize = 1 << 20;

/// A way to a running lwAFTR.
#[derive(Debug)]
pub struct Client {
    socket: PathBuf,
    runtime: tokio::runtime::Runtime,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "{}: {error}; is lwaftr running? `lwaftr run CONFIG` listens where [management] socket says; \
         --socket PATH or LWAFTR_SOCKET names another one",
        .socket.display()
    )]
    Connect {
        /// The socket.
        socket: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The answer is an error.
    #[error("{}", refusal(.body))]
    Refused {
        /// Status code of HTTP.
        status: u16,
        /// The error as JSON.
        body: Value,
    },
}

impl ClientError {
    /// Whether the request itself is wrong.
    #[must_use]
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Refused {
                status: 400 | 404 | 405 | 422,
                ..
            }
        )
    }
}

fn refusal(body: &Value) -> String {
    let part = |name: &str| {
        let part = body.get("error").and_then(|error| error.get(name));
        part.and_then(Value::as_str).unwrap_or_default()
    };
    let (path, rule, message) = (part("path"), part("rule"), part("message"));
    let mut text = String::new();
    if !path.is_empty() {
        text.push_str(path);
        text.push_str(": ");
    }
    text.push_str(message);
    if !rule.is_empty() && !message.contains(rule) {
        text.push_str(&format!(" [{rule}]"));
    }
    text
}

impl Client {
    /// A client of the socket at `path`; connects with each request.
    ///
    /// # Errors
    ///
    /// Where the system has no descriptor left.
    pub fn new(path: &Path) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        Ok(Self {
            socket: path.to_owned(),
            runtime,
        })
    }

    /// Sends a request and returns the JSON of its answer; other answers as a string.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub fn call(&self, method: Method, path: &str, body: Vec<u8>) -> Result<Value, ClientError> {
        let (status, bytes) = self.raw(method, path, body)?;
        let value = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        if status.is_success() || path == "/health" {
            return Ok(value);
        }
        Err(ClientError::Refused {
            status: status.as_u16(),
            body: value,
        })
    }

    /// Like [`call`](Self::call), for what only reads.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub fn get(&self, path: &str) -> Result<Value, ClientError> {
        self.call(Method::GET, path, Vec::new())
    }

    /// Sends a request and returns status and bytes of its answer.
    ///
    /// # Errors
    ///
    /// Where there is none.
    pub fn raw(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<(StatusCode, Vec<u8>), ClientError> {
        self.runtime.block_on(async {
            let response = self.send(method, path, body).await?;
            let status = response.status();
            let bytes = response.into_body().collect().await;
            let bytes = bytes.map_err(|error| ClientError::Broken(error.to_string()))?;
            Ok((status, bytes.to_bytes().to_vec()))
        })
    }

    /// Reads lines as they come, until `each` has enough or there are no more.
    ///
    /// # Errors
    ///
    /// See [`ClientError`].
    pub fn lines(
        &self,
        path: &str,
        mut each: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<(), ClientError> {
        self.runtime.block_on(async {
            let mut response = self.send(Method::GET, path, Vec::new()).await?;
            if !response.status().is_success() {
                let status = response.status().as_u16();
                let bytes = response.into_body().collect().await;
                let bytes = bytes.map_err(|error| ClientError::Broken(error.to_string()))?;
                let body = serde_json::from_slice(&bytes.to_bytes()).unwrap_or_default();
                return Err(ClientError::Refused { status, body });
            }
            let mut waiting = Vec::new();
            while let Some(frame) = response.body_mut().frame().await {
                let frame = frame.map_err(|error| ClientError::Broken(error.to_string()))?;
                let Ok(bytes) = frame.into_data() else {
                    continue;
                };
                for part in bytes.split_inclusive(|byte| *byte == b'\n') {
                    waiting.extend_from_slice(part);
                    if part.last() == Some(&b'\n') {
                        let line = String::from_utf8_lossy(&waiting).into_owned();
                        waiting.clear();
                        if each(line.trim_end()).is_break() {
                            return Ok(());
                        }
                    } else if waiting.len() > MAX_LINE {
                        return Err(ClientError::Broken("a line without an end".to_owned()));
                    }
                }
            }
            Ok(())
        })
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
    ) -> Result<Response<Incoming>, ClientError> {
        let stream = UnixStream::connect(&self.socket).await;
        let stream = stream.map_err(|error| ClientError::Connect {
            socket: self.socket.clone(),
            error,
        })?;
        let broken = |error: hyper::Error| ClientError::Broken(error.to_string());
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        // It ends with the answer.
        tokio::spawn(connection);
        let request = hyper::Request::builder()
            .method(method)
            .uri(path)
            .header("host", "lwaftr")
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| ClientError::Broken(error.to_string()))?;
        sender.send_request(request).await.map_err(broken)
    }
}
