//! The paths, and what a request there asks of the control half.

use std::io::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request as HttpRequest, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Extension, Router};
use lw4o6_binding::{Origin, Utc};
use lw4o6_wire::Ipv6Prefix;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;

use super::metrics::{CONTENT_TYPE, exposition};
use super::past::{self, Log, Subject};
use crate::control::{
    Addition, Answer, Input, ModelPart, Page, Refusal, Request, Running, parse_key,
};
use crate::view::TraceRequest;

/// Bytes of a request's body.
const MAX_BODY: usize = 1 << 20;

/// Bytes of a whole table.
const MAX_TABLE: usize = 512 << 20;

/// How long a request may take: its body, the store, the answer's begin.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Lines of a trace that wait for the client.
const TRACE_LINES: usize = 4096;

/// How often a trace without packets looks whether its client is still there.
const LOOK_AFTER_CLIENT: Duration = Duration::from_millis(200);

/// Bytes that are written to a client at once.
const CHUNK: usize = 64 << 10;

/// The way to the control half.
type Inputs = State<SyncSender<Input>>;

/// Every path, for the Unix socket.
pub(super) fn everything(inputs: SyncSender<Input>, log: Log) -> Router {
    Router::new()
        .route("/status", get(|i: Inputs| ask(i, Request::Status)))
        .route("/counters", get(|i: Inputs| ask(i, Request::Counters)))
        .route("/interfaces", get(|i: Inputs| ask(i, Request::Interfaces)))
        .route("/workers", get(|i: Inputs| ask(i, Request::Workers)))
        .route("/next-hops", get(|i: Inputs| ask(i, Request::NextHops)))
        .route("/config", get(|i: Inputs| ask(i, Request::Config)))
        .route("/knobs", get(|i: Inputs| ask(i, Request::Knobs)))
        .route("/knobs/{name}", put(set))
        .route("/softwires", get(softwires).post(add))
        .route("/softwires/{ipv4}/{ports}", delete(remove))
        .route("/binding-table", put(replace))
        .route("/reload", post(reload))
        .route("/lookup", get(lookup))
        .route("/events", get(|i: Inputs| ask(i, Request::Events)))
        .route("/trace", get(trace))
        .route(
            MODEL,
            get(|i: Inputs| ask(i, Request::Model(ModelPart::Instances))),
        )
        .route("/ietf-softwire-br:br-instances/{*rest}", get(model))
        .merge(common())
        .fallback(nowhere)
        .method_not_allowed_fallback(wrong_method)
        .layer(axum::middleware::from_fn(in_time))
        .layer(Extension(log))
        .with_state(inputs)
}

/// The paths that are open to everybody who reaches the TCP port.
pub(super) fn watching(inputs: SyncSender<Input>) -> Router {
    common()
        .fallback(nowhere)
        .method_not_allowed_fallback(wrong_method)
        .layer(axum::middleware::from_fn(in_time))
        .with_state(inputs)
}

fn common() -> Router<SyncSender<Input>> {
    Router::new()
        .route("/health", get(health))
        .route("/metrics", get(metrics))
}

/// Path of RFC 8676 data.
const MODEL: &str = "/ietf-softwire-br:br-instances";

async fn in_time(request: HttpRequest, next: axum::middleware::Next) -> Response {
    let answer = tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await;
    answer.unwrap_or_else(|_| {
        let rule = format!("{} s for a request", REQUEST_TIMEOUT.as_secs());
        Refusal::new(504, "", rule, "no answer in time").into_response()
    })
}

async fn nowhere(request: HttpRequest) -> Refusal {
    let path = request.uri().path();
    Refusal::new(404, path, "docs/MANAGEMENT.md", "there is no such path")
}

async fn wrong_method(request: HttpRequest) -> Refusal {
    let what = format!("{} does not go here", request.method());
    Refusal::new(405, request.uri().path(), "docs/MANAGEMENT.md", what)
}

/// Asks the control half and waits for its answer.
async fn call(inputs: &SyncSender<Input>, request: Request) -> Result<Answer, Refusal> {
    let (reply, answer) = oneshot::channel();
    let busy = |what| Refusal::new(503, "", "docs/LIMITS.md", what);
    match inputs.try_send(Input::Call { request, reply }) {
        Ok(()) => {}
        Err(TrySendError::Full(_)) => return Err(busy("too many requests wait")),
        Err(TrySendError::Disconnected(_)) => return Err(busy("the program ends")),
    }
    answer
        .await
        .unwrap_or_else(|_| Err(busy("the program ends")))
}

async fn ask(State(inputs): Inputs, request: Request) -> Result<Response, Refusal> {
    call(&inputs, request).await.map(response)
}

fn response(answer: Answer) -> Response {
    match answer {
        Answer::Json(value) => json_text(StatusCode::OK, &value),
        Answer::Model(running) => yang_data(*running),
        Answer::Snapshot(snapshot) => match exposition(&snapshot) {
            Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
            Err(error) => Refusal::internal(error.to_string()).into_response(),
        },
        Answer::Lines(lines) => line_stream(lines),
    }
}

fn json_text(status: StatusCode, value: &Value) -> Response {
    let content = [(header::CONTENT_TYPE, "application/json")];
    (status, content, format!("{value}\n")).into_response()
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        json_text(status, &json!({ "error": self }))
    }
}

/// Lines as they come, until one side has enough.
fn line_stream(lines: mpsc::Receiver<String>) -> Response {
    let lines = ReceiverStream::new(lines)
        .map(|line| Ok::<_, std::convert::Infallible>(Bytes::from(format!("{line}\n"))));
    let content = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (content, Body::from_stream(lines)).into_response()
}

/// A document that is written while it is sent: a million softwires make 300 MB.
fn yang_data(running: Running) -> Response {
    let (to, from) = mpsc::channel::<Bytes>(4);
    tokio::task::spawn_blocking(move || {
        let mut out = std::io::BufWriter::with_capacity(CHUNK, Chunks(to));
        // It fails where the client has gone away.
        let _ = running.write(&mut out).and_then(|()| out.flush());
    });
    let chunks = ReceiverStream::new(from).map(Ok::<_, std::convert::Infallible>);
    let content = [(header::CONTENT_TYPE, "application/yang-data+json")];
    (content, Body::from_stream(chunks)).into_response()
}

/// Takes what is written to it to the thread that sends.
struct Chunks(mpsc::Sender<Bytes>);

impl std::io::Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let sent = self.0.blocking_send(Bytes::copy_from_slice(bytes));
        sent.map_err(|_| std::io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

async fn health(State(inputs): Inputs) -> Result<Response, Refusal> {
    let Answer::Json(health) = call(&inputs, Request::Health).await? else {
        return Err(Refusal::internal("no health"));
    };
    let healthy = health.get("healthy") == Some(&Value::Bool(true));
    let status = if healthy {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    Ok(json_text(status, &health))
}

async fn metrics(inputs: Inputs) -> Result<Response, Refusal> {
    ask(inputs, Request::Snapshot).await
}

/// What stands behind the `?`.
type Asked<T> = Result<Query<T>, QueryRejection>;

fn query<T>(asked: Asked<T>) -> Result<T, Refusal> {
    let query = asked
        .map_err(|error| Refusal::new(400, "query", "docs/MANAGEMENT.md", error.body_text()))?;
    Ok(query.0)
}

async fn body(request: HttpRequest, most: usize) -> Result<Bytes, Refusal> {
    to_bytes(request.into_body(), most).await.map_err(|error| {
        let rule = format!("at most {most} bytes");
        Refusal::new(413, "body", rule, error.to_string())
    })
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct PageQuery {
    after: Option<String>,
    limit: Option<usize>,
    ipv4: Option<Ipv4Addr>,
    b4: Option<Ipv6Addr>,
}

async fn softwires(inputs: Inputs, asked: Asked<PageQuery>) -> Result<Response, Refusal> {
    let PageQuery {
        after,
        limit,
        ipv4,
        b4,
    } = query(asked)?;
    let after = after.map(|after| key("after", &after)).transpose()?;
    let page = Page {
        after,
        limit: limit.unwrap_or_default(),
        ipv4,
        b4,
    };
    ask(inputs, Request::Softwires(page)).await
}

fn key(path: &str, text: &str) -> Result<lw4o6_binding::SoftwireKey, Refusal> {
    parse_key(text).map_err(|what| Refusal::new(400, path, "ADDR/a,k,psid", what))
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct AddQuery {
    origin: Option<String>,
    lifetime: Option<u64>,
    #[serde(default)]
    replace: bool,
}

async fn add(
    inputs: Inputs,
    asked: Asked<AddQuery>,
    request: HttpRequest,
) -> Result<Response, Refusal> {
    let AddQuery {
        origin,
        lifetime,
        replace,
    } = query(asked)?;
    let origin = origin.map(|name| origin_of(&name)).transpose()?;
    let entries = body(request, MAX_BODY).await?.to_vec();
    let addition = Addition {
        entries,
        origin,
        lifetime,
        replace,
    };
    ask(inputs, Request::Add(addition)).await
}

fn origin_of(name: &str) -> Result<Origin, Refusal> {
    let origin = Origin::from_name(name).filter(|origin| *origin != Origin::Static);
    origin.ok_or_else(|| {
        let rule = "operator, dhcp, pcp or peer; static softwires are in the configuration";
        Refusal::new(400, "origin", rule, format!("`{name}` is not {rule}"))
    })
}

async fn remove(
    inputs: Inputs,
    Path((ipv4, ports)): Path<(String, String)>,
) -> Result<Response, Refusal> {
    let key = key("softwire", &format!("{ipv4}/{ports}"))?;
    ask(inputs, Request::Remove(key)).await
}

async fn replace(inputs: Inputs, request: HttpRequest) -> Result<Response, Refusal> {
    let table = body(request, MAX_TABLE).await?.to_vec();
    ask(inputs, Request::ReplaceTable(table)).await
}

async fn set(
    inputs: Inputs,
    Path(name): Path<String>,
    request: HttpRequest,
) -> Result<Response, Refusal> {
    let value = body(request, MAX_BODY).await?;
    let value = serde_json::from_slice(&value).map_err(|error| {
        let what = format!("the value is no JSON: {error}");
        Refusal::new(400, name.clone(), "RFC 8259", what)
    })?;
    ask(inputs, Request::Set { name, value }).await
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct ReloadQuery {
    #[serde(default)]
    diff: bool,
}

async fn reload(inputs: Inputs, asked: Asked<ReloadQuery>) -> Result<Response, Refusal> {
    let ReloadQuery { diff } = query(asked)?;
    ask(inputs, Request::Reload { diff }).await
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct LookupQuery {
    address: String,
    port: Option<u16>,
    at: Option<String>,
}

//
async fn lookup(
    State(inputs): Inputs,
    Extension(log): Extension<Log>,
    asked: Asked<LookupQuery>,
) -> Result<Response, Refusal> {
    let LookupQuery { address, port, at } = query(asked)?;
    let wrong = |path: &str, rule: &str, text: &str| {
        Refusal::new(400, path, rule, format!("`{text}` is not {rule}"))
    };
    let at = at
        .map(|text| {
            let rule = "a date and time like 2026-11-20T19:05:32Z";
            text.parse::<Utc>().map_err(|_| wrong("at", rule, &text))
        })
        .transpose()?;
    let rule = "an IPv4 address, or an IPv6 address or prefix";
    let subject = Subject::of(&address).ok_or_else(|| wrong("address", rule, &address))?;
    let request = match subject {
        Subject::Ipv4(ipv4) => Request::Who { ipv4, port, at },
        Subject::B4(_) if port.is_some() => {
            let what = "ports belong to IPv4 addresses";
            return Err(Refusal::new(400, "port", what, what));
        }
        Subject::B4(b4) => Request::What { b4, at },
    };
    let answer = call(&inputs, request).await?;
    if let (Some(at), Some(log), Some(question)) = (at, log.0, subject.question(port))
        && let Answer::Json(found) = &answer
        && found
            .get("found")
            .and_then(Value::as_array)
            .is_some_and(Vec::is_empty)
    {
        // What the program does not remember stands in the log.
        let path = log.display().to_string();
        let asked = tokio::task::spawn_blocking(move || past::ask(&log, question, at)).await;
        let asked = asked.unwrap_or_else(|error| Err(error.to_string()));
        let found = asked.map_err(|what| Refusal::new(500, path, "state.log", what))?;
        return Ok(json_text(StatusCode::OK, &found));
    }
    Ok(response(answer))
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct TraceQuery {
    ipv4: Option<Ipv4Addr>,
    port: Option<u16>,
    b4: Option<Ipv6Addr>,
    #[serde(default)]
    drops: bool,
}

async fn trace(State(inputs): Inputs, asked: Asked<TraceQuery>) -> Result<Response, Refusal> {
    let TraceQuery {
        ipv4,
        port,
        b4,
        drops,
    } = query(asked)?;
    let (to, from) = sync_channel(TRACE_LINES);
    let request = TraceRequest {
        ipv4,
        port,
        b4,
        drops,
        to,
    };
    let (out, lines) = mpsc::channel(TRACE_LINES);
    // In a task of its own: a client that goes away at once must not leave a trace behind.
    let begun = tokio::spawn(async move {
        call(&inputs, Request::Trace(request)).await?;
        tokio::task::spawn_blocking(move || pass_on(&from, &out, &inputs));
        Ok(())
    });
    let begun = begun.await;
    begun.unwrap_or_else(|error| Err(Refusal::internal(error.to_string())))?;
    Ok(line_stream(lines))
}

/// Takes lines from the workers to the client until one of them ends.
fn pass_on(from: &Receiver<String>, out: &mpsc::Sender<String>, inputs: &SyncSender<Input>) {
    loop {
        match from.recv_timeout(LOOK_AFTER_CLIENT) {
            Ok(line) => {
                if out.blocking_send(line).is_err() {
                    break;
                }
            }
            Err(RecvTimeoutError::Timeout) if !out.is_closed() => {}
            Err(_) => break,
        }
    }
    let (reply, _) = oneshot::channel();
    let request = Request::TraceEnd;
    // The program may be about to end.
    let _ = inputs.send(Input::Call { request, reply });
}

/// RFC 8676 data by its RESTCONF path (RFC 8040 §3.5.3).
async fn model(State(inputs): Inputs, Path(rest): Path<String>) -> Result<Response, Refusal> {
    let unknown = || {
        let what = "there is no such node";
        Refusal::new(404, format!("{MODEL}/{rest}"), "RFC 8676 §5.2", what)
    };
    let inside = rest
        .strip_prefix("binding/bind-instance=")
        .ok_or_else(unknown)?;
    let (name, node) = inside.split_once('/').unwrap_or((inside, ""));
    let part = match node {
        "" => ModelPart::Instance,
        "binding-table" => ModelPart::Table,
        "traffic-stat" => ModelPart::TrafficStat,
        node => {
            let key = node
                .strip_prefix("binding-table/binding-entry=")
                .ok_or_else(unknown)?;
            let prefix = match key.parse::<Ipv6Addr>() {
                Ok(b4) => Some(Ipv6Prefix::host(b4)),
                Err(_) => key.parse().ok(),
            };
            ModelPart::Entry(prefix.ok_or_else(|| {
                let rule = "an IPv6 address or prefix";
                let what = format!("`{key}` is not {rule}");
                Refusal::new(400, "binding-ipv6info", rule, what)
            })?)
        }
    };
    let answer = call(&inputs, Request::Model(part)).await?;
    if let Answer::Model(running) = &answer
        && running.name() != name
    {
        return Err(unknown());
    }
    Ok(response(answer))
}
