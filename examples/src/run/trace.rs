//! Lines about traced packets.

use std::sync::mpsc::{SyncSender, TrySendError};

use lw4o6_aftr::port::EthernetPort;
use lw4o6_aftr::trace::{Only, Trace, TraceFilter};
use lw4o6_binding::Clock;
use serde_json::{Value, json};

use crate::view::{TraceRequest, side_name};

/// What all workers trace.
#[derive(Clone, Debug)]
pub(super) struct TraceOrder {
    pub(super) filter: TraceFilter,
    to: SyncSender<String>,
}

/// What one worker traces.
#[derive(Debug)]
pub(super) struct Tracing {
    order: TraceOrder,
    /// Lines that nobody had read in time, since the last one that was.
    lost: u64,
}

impl TraceOrder {
    pub(super) fn new(request: TraceRequest) -> Self {
        let TraceRequest {
            ipv4,
            port,
            b4,
            drops,
            to,
        } = request;
        let only = if drops { Only::Drops } else { Only::Everything };
        let filter = TraceFilter {
            ipv4,
            port,
            b4,
            only,
        };
        Self { filter, to }
    }
}

impl Tracing {
    pub(super) fn new(order: TraceOrder) -> Self {
        Self { order, lost: 0 }
    }

    /// Passes on what `port` has traced; whether anybody listens.
    pub(super) fn pass_on(
        &mut self,
        port: &mut EthernetPort,
        worker: usize,
        clock: &Clock,
    ) -> bool {
        let mut full = false;
        while let Some(trace) = port.poll_trace() {
            if full {
                self.lost += 1;
                continue;
            }
            let line = line(&trace, worker, self.lost, clock);
            match self.order.to.try_send(line) {
                Ok(()) => self.lost = 0,
                Err(TrySendError::Full(_)) => {
                    full = true;
                    self.lost += 1;
                }
                Err(TrySendError::Disconnected(_)) => return false,
            }
        }
        true
    }
}

/// A traced packet as a line of JSON.
fn line(trace: &Trace, worker: usize, lost: u64, clock: &Clock) -> String {
    let names = trace.passed.iter().map(|check| check.as_str());
    let mut line = json!({
        "time": clock.utc_of(trace.at).to_string(),
        "worker": worker,
        "side": side_name(trace.side),
        "way": trace.way(),
        "bytes": trace.len,
        "passed": names.collect::<Vec<_>>(),
        "outcome": trace.outcome(),
        "dropped": trace.is_drop(),
        "text": trace.to_string(),
    });
    let more = [
        ("outer", trace.outer.map(|outer| json!({ "src": outer.src, "dst": outer.dst }))),
        (
            "inner",
            trace.inner.map(|inner| {
                let ports = inner.ports.map(|ports| [ports.src, ports.dst]);
                let protocol = inner.protocol.0;
                json!({ "src": inner.src, "dst": inner.dst, "protocol": protocol, "ports": ports, "ttl": inner.ttl })
            }),
        ),
        (
            "binding",
            trace.binding.map(|met| json!({ "b4": met.b4, "aftr": met.aftr, "ipv4": met.softwire.map(|(ipv4, _)| ipv4) })),
        ),
        (
            "failed",
            trace.failed.map(|check| json!({ "check": check.as_str(), "rule": check.reference() })),
        ),
        (
            "answer",
            trace.answer.map(|answer| {
                let protocol = format!("ICMPv{}", answer.version);
                json!({ "protocol": protocol, "type": answer.kind, "code": answer.code, "to": side_name(answer.to) })
            }),
        ),
        ("lost", (lost > 0).then(|| lost.into())),
    ];
    if let Value::Object(line) = &mut line {
        let there = more
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)));
        line.extend(there);
    }
    line.to_string()
}
