//! Who had what, and when.
//

use std::net::Ipv4Addr;

use lw4o6_binding::{Span, Utc};
use lw4o6_wire::Ipv6Prefix;
use serde_json::json;

use super::{Answer, Control, Refusal, SoftwireView};

/// Answers about the past have at most so many softwires.
const MOST_FOUND: usize = 10_000;

impl Control {
    pub(super) fn who(
        &self,
        ipv4: Ipv4Addr,
        port: Option<u16>,
        at: Option<Utc>,
    ) -> Result<Answer, Refusal> {
        let when = at.unwrap_or_else(|| self.clock.utc_of(self.now));
        let found: Vec<_> = match port {
            Some(port) => self.history.who(ipv4, port, when).into_iter().collect(),
            None => self.history.on(ipv4, when).take(MOST_FOUND).collect(),
        };
        self.found(when, &found)
    }

    pub(super) fn what(&self, b4: Ipv6Prefix, at: Option<Utc>) -> Result<Answer, Refusal> {
        let when = at.unwrap_or_else(|| self.clock.utc_of(self.now));
        let found: Vec<_> = self.history.what(b4, when).take(MOST_FOUND).collect();
        self.found(when, &found)
    }

    fn found(&self, when: Utc, spans: &[&Span]) -> Result<Answer, Refusal> {
        let mask = self.router.bindings.config().policy.subscriber_mask;
        let views = spans.iter().map(|span| {
            let mut view = SoftwireView::of(&span.binding, &self.clock);
            view.from = Some(span.from.to_string());
            view.to = span.to.map(|to| to.to_string());
            json!({ "softwire": view, "subscriber": span.binding.subscriber(mask).to_string() })
        });
        Answer::json(&json!({
            "at": when.to_string(),
            "known-from": self.started.to_string(),
            "found": views.collect::<Vec<_>>(),
        }))
    }
}
